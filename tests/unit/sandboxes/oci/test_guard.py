"""The guard's files: what programs trust, and that the same guard is found again."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from cloister.sandboxes.oci.guard import make_guard


def make_certificate() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an authority")])
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
