"""The authorities that programs in a sandbox trust, in each of the forms in which programs read them."""

import hashlib
import warnings
from collections.abc import Iterator

from cryptography import x509
from cryptography.hazmat.primitives.serialization import NoEncryption
from cryptography.hazmat.primitives.serialization.pkcs12 import PKCS12Certificate, serialize_java_truststore

from cloister.model.container import CA_BUNDLE, JAVA_TRUST_STORE, OWN_AUTHORITY

DIRECTORIES = dict.fromkeys(("/usr", "/usr/local", "/usr/local/share", "/usr/local/share/ca-certificates"), 493)
_ADDED_BY_ADMINISTRATOR = "/usr/local/share/ca-certificates/cloister.crt"
"""`update-ca-certificates`, which a package in setup may run, makes its bundle anew with what lies there."""
_END = "-----END CERTIFICATE-----"


def trust_files(bundle: str, authority: str) -> dict[str, bytes]:
    """Return paths and contents such that `bundle` and `authority`, both PEM, are trusted.

    `authority` is the installation's own certificate; without it ("") the bundle stands in its file.
    """
    everything = f"{bundle.rstrip()}\n{authority}".encode()
    files = {CA_BUNDLE: everything, OWN_AUTHORITY: (authority or bundle).encode()}
    files[JAVA_TRUST_STORE] = _java_trust_store(everything.decode())
    if authority:
        name = _subject_hash(x509.load_pem_x509_certificate(authority.encode()).subject)
        files[f"/etc/ssl/certs/{name}.0"] = authority.encode()
        files[_ADDED_BY_ADMINISTRATOR] = authority.encode()
    return files


def _java_trust_store(bundle: str) -> bytes:
    """PKCS 12 with Java's mark of trust. Unencrypted, because a JVM without its password would find it empty."""
    entries = [PKCS12Certificate(certificate, b"%d" % index) for index, certificate in enumerate(_certificates(bundle))]
    return serialize_java_truststore(entries, NoEncryption())


def _certificates(bundle: str) -> Iterator[x509.Certificate]:
    """Yield each certificate once, without those that only a more lenient library than ours can read."""
    seen = set()
    for part in bundle.split(_END)[:-1]:
        try:
            with warnings.catch_warnings(action="ignore"):  # old authorities have odd serial numbers
                certificate = x509.load_pem_x509_certificate((part + _END).encode())
        except ValueError:
            continue
        if certificate not in seen:
            seen.add(certificate)
            yield certificate


def _subject_hash(name: x509.Name) -> str:
    """Return the name of a certificate's file in a directory of OpenSSL's (X509_NAME_hash), for ASCII names."""
    digest = hashlib.sha1(usedforsecurity=False)
    for attribute in name:
        plain = " ".join(str(attribute.value).lower().split())
        encoded = x509.Name([x509.NameAttribute(attribute.oid, plain)]).public_bytes()
        digest.update(encoded[2:])  # less than 128 bytes: the header has two
    return f"{int.from_bytes(digest.digest()[:4], 'little'):08x}"
