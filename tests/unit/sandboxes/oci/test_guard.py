"""The guard's files: what programs trust, and that the same guard is found again."""

import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from cloister.sandboxes.oci.guard import make_guard


def make_certificate(subject: str = "CN=an authority") -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name.from_rfc4514_string(subject)
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


def test_an_authority_is_in_a_guard_of_its_own_which_is_found_again(tmp_path: Path) -> None:
    authority = make_certificate()
    guard = make_guard(tmp_path, os.getuid(), authority)
    assert make_guard(tmp_path, os.getuid(), authority) == guard
    assert make_guard(tmp_path, os.getuid()) != guard, "an older guard would not hold it"
    certs = guard.layer / "etc/ssl/certs"
    bundle = (certs / "ca-certificates.crt").read_text()
    assert bundle.endswith(authority) and bundle.count("BEGIN CERTIFICATE") > 1
    assert (certs / "cloister.pem").read_text() == authority
    assert (guard.layer / "usr/local/share/ca-certificates/cloister.crt").read_text() == authority


@pytest.mark.parametrize(
    "subject",
    [
        "CN=an authority",
        "CN=Corp  Root,O=Corp\\, Inc.,C=US",
        "CN=Zürich ÄÖ,C=CH",
        f"CN=Root,O={'x' * 150}",
        "CN=a+OU=b,O=c",
    ],
)
def test_every_authority_is_where_openssl_looks_for_it(tmp_path: Path, subject: str) -> None:
    own, other = make_certificate(), make_certificate(subject)
    certs = make_guard(tmp_path, os.getuid(), own + other + make_certificate(subject)).layer / "etc/ssl/certs"
    command = ["openssl", "x509", "-noout", "-subject_hash"]
    name = subprocess.run(command, input=other, text=True, capture_output=True, check=True).stdout.strip()
    assert other in {path.read_text() for path in certs.glob(f"{name}.[0-9]")}
    added = certs.parents[2] / "usr/local/share/ca-certificates"
    assert [path.read_text().count("BEGIN") for path in sorted(added.iterdir())] == [1, 1, 1]
    assert (certs / "cloister.pem").read_text().startswith(own + other)
