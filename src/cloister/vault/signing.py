"""The key that records are signed with: ed25519, in a file of its own, made when it is first used."""

from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from cloister.errors import VaultError
from cloister.model.record import Signature
from cloister.vault.private_file import make_once, read_private, told

_WHAT = "the key of records"
_LARGEST_BYTES = 4096


class SigningKeyFile:
    """A private key as PEM (PKCS #8), which `openssl pkey` reads too."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def sign(self, message: bytes) -> Signature:
        """Sign. VaultError when the file is no such key, or others can read it."""
        key = self._load()
        return Signature(key_id=_id_of(key), value=key.sign(message))

    def public_key(self) -> str:
        """What verifies, as PEM."""
        public = self._load().public_key()
        return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    def _load(self) -> Ed25519PrivateKey:
        with told(self._path, _WHAT):
            if not self._path.exists():
                make_once(self._path, _new_key())
            data = read_private(self._path, _WHAT, limit_bytes=_LARGEST_BYTES)
        try:
            key = load_pem_private_key(data, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:  # not in its text, which may show what it read
            raise VaultError(f"{self._path} is no private key", hint="restore it from a backup") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise VaultError(f"{self._path} is a key of another kind than ed25519")
        return key


def _new_key() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _id_of(key: Ed25519PrivateKey) -> str:
    return sha256(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()
