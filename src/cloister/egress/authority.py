"""The installation's own authority, which vouches to sandboxes for the proxy wherever it has to read HTTPS.

Made at first use. Its key lies in the state directory, readable by its owner alone, and in the memory of the
egress process; no sandbox ever has it.
"""

import contextlib
import os
import secrets
import ssl
import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cloister.egress.addresses import is_address
from cloister.errors import EgressError

_FILE = "authority.pem"
_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Cloister, this installation's proxy")])
_LIFE = timedelta(days=3650)
_RENEWED_BEFORE = timedelta(days=90)
_LEAF_LIFE = timedelta(days=2)
_LEAF_SECONDS = 24 * 3600.0
_CLOCK_SKEW = timedelta(hours=1)
_MOST_LEAVES = 1000


@dataclass(frozen=True, slots=True, repr=False)
class Authority:
    """A certificate and its key, in PEM."""

    certificate: str
    """Public; sandboxes trust it."""
    key: str

    def __repr__(self) -> str:
        return "Authority(...)"


def load_authority(folder: Path) -> Authority:
    """Return the authority that is kept in `folder`; make it when there is none, or the old one ends soon.

    EgressError when its file is no authority, or others may read it.
    """
    path = folder / _FILE
    try:
        authority = _read(path) or _make(path)
    except OSError as error:
        raise EgressError(f"the proxy's authority {path} cannot be used: {error.strerror}") from error
    except ValueError as error:
        raise EgressError(f"{path} holds no authority: {error}", hint="remove it; the next one is made") from error
    return authority


def _read(path: Path) -> Authority | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor) as file:
        if os.fstat(descriptor).st_mode & 0o077:
            raise EgressError(f"others than its owner may read the key in {path}", hint=f"chmod 600 {path}")
        text = file.read()
    certificate, mark, key = text.partition("-----BEGIN PRIVATE KEY-----")
    if not mark:
        raise ValueError("it has no key")
    ends_at = x509.load_pem_x509_certificate(certificate.encode()).not_valid_after_utc
    return Authority(certificate, mark + key) if ends_at > datetime.now(UTC) + _RENEWED_BEFORE else None


def _make(path: Path) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        _builder(_NAME, key.public_key(), _LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    made = Authority(certificate.public_bytes(Encoding.PEM).decode(), text)
    return _keep(path, made)


def _keep(path: Path, made: Authority) -> Authority:
    """Write it, unless another process was quicker; then that one's counts."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(made.certificate + made.key)
            file.flush()
            os.fsync(descriptor)
        if path.exists():  # it ended
            draft.replace(path)
            return made
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    return _read(path) or made


class Leaves:
    """Certificates for the hosts whose HTTPS is read, each with a TLS context; the newest are remembered.

    All share one key, made for this process.
    """

    def __init__(self, authority: Authority) -> None:
        self._authority = x509.load_pem_x509_certificate(authority.certificate.encode())
        self._signer = load_pem_private_key(authority.key.encode(), password=None)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._contexts: OrderedDict[str, tuple[float, ssl.SSLContext]] = OrderedDict()

    def context_for(self, host: str) -> ssl.SSLContext:
        """Return the context of a server named `host`, a canonical name or address."""
        made_at, context = self._contexts.get(host, (0.0, None))
        now = time.monotonic()
        if context is None or now - made_at > _LEAF_SECONDS:
            context = self._make_context(host)
            self._contexts[host] = now, context
            if len(self._contexts) > _MOST_LEAVES:
                self._contexts.popitem(last=False)
        self._contexts.move_to_end(host)
        return context

    def _make_context(self, host: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        context.num_tickets = 0  # resumption spares nothing between a sandbox and its own machine
        with _passing_file(self._make_leaf(host)) as path:
            context.load_cert_chain(path)
        return context

    def _make_leaf(self, host: str) -> bytes:
        assert isinstance(self._signer, ec.EllipticCurvePrivateKey), "as it was made"
        name = x509.IPAddress(ip_address(host)) if is_address(host) else x509.DNSName(host)
        # The subject stays empty: a common name ends at 64 characters, and clients look at the alternative names.
        leaf = (
            _builder(x509.Name([]), self._key.public_key(), _LEAF_LIFE)
            .add_extension(x509.SubjectAlternativeName([name]), critical=True)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._signer.public_key()), critical=False
            )
            .sign(self._signer, hashes.SHA256())
        )
        return leaf.public_bytes(Encoding.PEM) + self._key.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        )


def _builder(subject: x509.Name, key: ec.EllipticCurvePublicKey, life: timedelta) -> x509.CertificateBuilder:
    begins_at = datetime.now(UTC) - _CLOCK_SKEW
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(_NAME)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins_at)
        .not_valid_after(begins_at + life)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


@contextlib.contextmanager
def _passing_file(content: bytes) -> Iterator[str]:
    """`ssl` takes certificates from files only; this one is never on a disk."""
    descriptor = os.memfd_create("leaf", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, content)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
