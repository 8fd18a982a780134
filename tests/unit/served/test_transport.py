"""TLS, proxies and names, at real servers."""

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from cloister.api.tls import check_certificate
from cloister.client import Client
from cloister.model.token import Role

from ..cli.conftest import Installation
from .conftest import Machine

pytestmark = pytest.mark.anyio


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1 that signed itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "cloister")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(days=1), now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = tmp_path / "server.pem", tmp_path / "server.key"
    paths[0].write_bytes(made.public_bytes(Encoding.PEM))
    paths[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (tmp_path / "locked.key").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    )
    other = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "other.key").write_bytes(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return paths


async def test_over_tls_a_session_is_bound_to_this_host(
    machine: Machine, pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with machine.server(works=False, tls_certificate=pair[0], tls_key=pair[1]) as server:
        address = f"https://127.0.0.1:{server.port}"
        token = await server.token(Role.ADMIN)
        async with httpx.AsyncClient() as http:
            with pytest.raises(httpx.TransportError):
                await http.get(f"{server.address}/healthz")
            with pytest.raises(httpx.ConnectError):  # nobody vouches for it
                await http.get(f"{address}/healthz")
        trusting = ssl.create_default_context(cafile=str(pair[0]))
        headers = {"Origin": address}
        async with httpx.AsyncClient(base_url=address, verify=trusting, headers=headers) as http:
            begun = await http.post("/login", data={"token": token})
            cookie = begun.headers["Set-Cookie"]
            assert cookie.startswith("__Host-cloister=cls_"), cookie
            assert {"Secure", "HttpOnly", "Path=/"} <= set(cookie.split("; ")) and "Domain" not in cookie
            assert (await http.get("/api/v1/sessions/current")).json()["role"] == "admin"
            text = http.cookies["__Host-cloister"]
            http.cookies.clear()
            planted = {"Cookie": f"cloister={text}"}  # as a sub-domain, or somebody on the network, could
            assert (await http.get("/api/v1/tasks", headers=planted)).status_code == 401
            plain = {"Origin": f"http://127.0.0.1:{server.port}"}
            assert (await http.post("/login", data={"token": token}, headers=plain)).status_code == 403
        monkeypatch.setenv("SSL_CERT_FILE", str(pair[0]))
        async with Client.connect(address, token=token) as client:
            assert await client.tasks() == []


@pytest.mark.parametrize(
    ("certificate", "key", "told"),
    [
        ("server.pem", None, "set together"),
        (None, "server.key", "set together"),
        ("server.pem", "none.key", "none.key: No such file"),
        ("server.key", "server.key", "cannot be used"),
        ("server.pem", "server.pem", "cannot be used"),
        ("server.pem", "other.key", "cannot be used"),
        ("server.pem", "locked.key", "cannot be used"),
    ],
)
def test_what_is_no_pair_is_refused_before_anything_listens(
    pair: tuple[Path, Path], installation: Installation, certificate: str | None, key: str | None, told: str
) -> None:
    named = {"--tls-cert": certificate, "--tls-key": key}
    options = [part for option, name in named.items() if name for part in (option, str(pair[0].parent / name))]
    done = installation.run("serve", "--listen", "0.0.0.0:1", *options)
    assert (done.exit_code, told in done.stderr) == (2, True), done.stderr
    check_certificate(*pair)


@pytest.mark.parametrize(("trusted", "address"), [("127.0.0.1/32", "203.0.113.9"), ("192.0.2.0/24", "127.0.0.1")])
async def test_a_proxy_says_who_calls_and_that_it_speaks_https(machine: Machine, trusted: str, address: str) -> None:
    behind = {"trusted_proxies": [trusted], "public_url": "https://cloister.example"}
    headers = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "cloister.example"}
    async with machine.server(works=False, **behind) as server, httpx.AsyncClient(headers=headers) as http:
        form = {"token": await server.token(Role.VIEWER)}
        origin = {"Origin": "https://cloister.example"}
        begun = await http.post(f"{server.address}/login", data=form, headers=origin)
        assert begun.headers["Set-Cookie"].startswith("__Host-cloister=")
        (session,) = await server.application.access.sessions.list()
        assert session.address == address
        named = await http.get(f"{server.address}/healthz", headers={"Host": "evil.example"})
        assert named.status_code == (200 if trusted.startswith("127") else 421)


def test_other_machines_reach_nothing_in_the_open(installation: Installation) -> None:
    for address in ("0.0.0.0:1", "[::]:1", "192.0.2.1:1"):
        done = installation.run("serve", "--listen", address)
        assert (done.exit_code, "tokens would pass in the open" in done.stderr) == (2, True), done.stderr
