"""Certificates of authorities that the operator trusts, read from files."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from cloister.errors import UsageError


def read_certificates(files: Sequence[Path]) -> str:
    """Return all certificates of these PEM files, in PEM, once each, and nothing else that the files may hold.

    A private key beside a certificate must not get where the certificates go. Raises UsageError, which names the file.
    """
    found = dict.fromkeys(pem for file in files for pem in _read(file))
    return "".join(found)


def _read(file: Path) -> Iterator[str]:
    try:
        certificates = x509.load_pem_x509_certificates(file.read_bytes())
    except OSError as error:
        raise UsageError(
            f"authorities: cannot read {file}: {error.strerror}", hint="name a file of PEM certificates, or take it out"
        ) from error
    except ValueError as error:
        raise UsageError(
            f"authorities: {file} holds no certificate in PEM",
            hint=f"if it is DER: openssl x509 -inform der -in {file} -out FILE.pem",
        ) from error
    return (certificate.public_bytes(Encoding.PEM).decode() for certificate in certificates)
