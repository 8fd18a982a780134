"""The server's own certificate."""

import ssl
from pathlib import Path

from cloister.errors import UsageError


def check_certificate(certificate: Path | None, key: Path | None) -> None:
    """Raise UsageError unless both are there and belong together, or neither is named."""
    if certificate is None and key is None:
        return
    if certificate is None or key is None:
        raise UsageError("tls_certificate and tls_key are set together, or not at all")
    for path in (certificate, key):
        try:
            path.read_bytes()
        except OSError as error:
            raise UsageError(f"cannot read {path}: {error.strerror}") from error
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=_refuse_password)
    except (ssl.SSLError, ValueError) as error:
        reason = getattr(error, "reason", None) or str(error)
        raise UsageError(
            f"{certificate} and {key} cannot be used: {reason}",
            hint="give a certificate, and the private key of that same certificate without a password, both as PEM",
        ) from error


def _refuse_password() -> str:
    raise ValueError("the key has a password")
