"""The authorities that programs in a sandbox trust, in each of the forms in which programs read them."""

import hashlib
import re
import warnings
from collections import Counter
from collections.abc import Iterator

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption
from cryptography.hazmat.primitives.serialization.pkcs12 import PKCS12Certificate, serialize_java_truststore
from cryptography.x509.name import _ASN1Type  # a country is of another type by default

from cloister.model.container import CA_BUNDLE, JAVA_TRUST_STORE, OWN_AUTHORITY

DIRECTORIES = dict.fromkeys(("/usr", "/usr/local", "/usr/local/share", "/usr/local/share/ca-certificates"), 493)
_ADDED_BY_ADMINISTRATOR = "/usr/local/share/ca-certificates/"
"""`update-ca-certificates`, which a package in setup may run, makes its bundle anew with the files that lie there."""
_END = "-----END CERTIFICATE-----"


def trust_files(bundle: str, authorities: str) -> dict[str, bytes]:
    """Return paths and contents such that `bundle` and `authorities`, both PEM, are trusted.

    `authorities` begin with the installation's own certificate; without any ("") the bundle stands in their file.
    """
    everything = f"{bundle.rstrip()}\n{authorities}".encode()
    files = {CA_BUNDLE: everything, OWN_AUTHORITY: (authorities or bundle).encode()}
    files[JAVA_TRUST_STORE] = _java_trust_store(everything.decode())
    of_hash = Counter[str]()
    for number, certificate in enumerate(_certificates(authorities)):
        content = certificate.public_bytes(Encoding.PEM)
        name = _subject_hash(certificate.subject)
        files[f"/etc/ssl/certs/{name}.{of_hash[name]}"] = content
        of_hash[name] += 1
        files[f"{_ADDED_BY_ADMINISTRATOR}cloister{f'-{number}' if number else ''}.crt"] = content
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
    """Return the name of a certificate's file in a directory of OpenSSL's (X509_NAME_hash)."""
    digest = hashlib.sha1(usedforsecurity=False)
    for rdn in name.rdns:
        plain = x509.RelativeDistinguishedName(_plain(attribute) for attribute in rdn)
        encoded = x509.Name([plain]).public_bytes()
        header_bytes = 2 if encoded[1] < 128 else 2 + (encoded[1] & 0x7F)
        digest.update(encoded[header_bytes:])
    return f"{int.from_bytes(digest.digest()[:4], 'little'):08x}"


def _plain(attribute: x509.NameAttribute[str | bytes]) -> x509.NameAttribute[str | bytes]:
    """Return it as OpenSSL compares it: without case or spaces that make no difference, and as one type of string."""
    if isinstance(attribute.value, bytes):
        return attribute
    words = re.sub(r"[ \t\n\v\f\r]+", " ", attribute.value).strip(" ")
    lower = re.sub("[A-Z]+", lambda found: found[0].lower(), words)
    return x509.NameAttribute(attribute.oid, lower, _ASN1Type.UTF8String)
