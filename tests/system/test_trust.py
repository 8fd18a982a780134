"""Real programs trust a server under the installation's authority with the files of a sandbox, and not without them."""

import os
import shutil
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from cloister.model.container import container_variables
from cloister.model.phase import Phase
from cloister.model.task import Task
from cloister.sandboxes.oci.trust import trust_files

Pair = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]
BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
NODE = """
const request = require('https').get(process.argv[1], () => process.exit(0))
request.on('error', error => { console.error(error); process.exit(1) })
"""
PYTHON = "import sys, urllib.request; urllib.request.urlopen(sys.argv[1]).read()"
JAVA = """
public class Fetch {
    public static void main(String[] urls) throws Exception {
        new java.net.URL(urls[0]).openStream().readAllBytes();
    }
}
"""


class Hello(BaseHTTPRequestHandler):
    """Answers everything; to git, that is an empty repository."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


def make_pair(name: str, signer: Pair | None) -> Pair:
    """A certificate authority, or with `signer` a server `localhost` under it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(signer[0].subject if signer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=signer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    )
    return builder.sign(signer[1] if signer else key, hashes.SHA256()), key


@pytest.fixture(scope="module")
def authority() -> Pair:
    return make_pair("Cloister, this  installation's proxy", None)


@pytest.fixture(scope="module")
def url(authority: Pair, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server under the authority."""
    certificate, key = make_pair("localhost", authority)
    file = tmp_path_factory.mktemp("server") / "both.pem"
    file.write_bytes(
        certificate.public_bytes(Encoding.PEM) + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hello)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"https://localhost:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


def variables_under(root: Path, authority: str, task: Task) -> Mapping[str, str]:
    """The variables of a sandbox that concern trust, its files below `root`, and no proxy."""
    for path, content in trust_files(BUNDLE.read_text(), authority).items():
        place = root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    everything = container_variables(task, Phase.AGENT)
    mine = {
        name: value.replace("/etc/ssl", f"{root}/etc/ssl") for name, value in everything.items() if "/etc/ssl" in value
    }
    java = [option for option in mine["JAVA_TOOL_OPTIONS"].split() if "proxy" not in option]
    return mine | {"JAVA_TOOL_OPTIONS": " ".join(java), "PATH": os.environ["PATH"], "HOME": str(root)}


PROGRAMS = {
    "curl": ["curl", "-fsS"],
    "git": ["git", "ls-remote"],
    "python": [sys.executable, "-c", PYTHON],
    "node": ["node", "-e", NODE],
    "java": ["java", "Fetch.java"],
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_trusts_what_the_files_of_a_sandbox_say(
    new_task, tmp_path: Path, url: str, authority: Pair, program: str
) -> None:
    command = PROGRAMS[program]
    if shutil.which(command[0]) is None:
        pytest.skip(f"{program} is not on this machine")
    (tmp_path / "Fetch.java").write_text(JAVA)
    trusted = authority[0].public_bytes(Encoding.PEM).decode()

    def run(kind: str, pem: str) -> "subprocess.CompletedProcess[str]":
        variables = variables_under(tmp_path / kind, pem, new_task())
        return subprocess.run(
            [*command, url], env=variables, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
        )

    with_it = run("with", trusted)
    assert with_it.returncode == 0, with_it.stderr
    without = run("without", "")
    assert without.returncode != 0
    assert any(word in without.stderr.lower() for word in ("certificat", "certpath")), without.stderr


def test_openssl_finds_the_authority_in_the_directory(new_task, tmp_path: Path, authority: Pair) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not on this machine")
    variables_under(tmp_path, authority[0].public_bytes(Encoding.PEM).decode(), new_task())
    certs = tmp_path / "etc/ssl/certs"
    verify = ["openssl", "verify", "-no-CAfile", "-no-CAstore", "-CApath"]
    found = subprocess.run([*verify, certs, certs / "cloister.pem"], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    empty = subprocess.run([*verify, tmp_path, certs / "cloister.pem"], capture_output=True, text=True, check=False)
    assert empty.returncode != 0
