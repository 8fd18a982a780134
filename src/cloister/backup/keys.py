"""The installation's keys under a passphrase: what opens secrets is never beside them in the clear by accident."""

import os
from base64 import b64decode, b64encode
from collections.abc import Mapping

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from cloister.errors import UsageError, VaultError

LEAST_PASSPHRASE = 12
"""Characters. Whoever has the file tries as many as they like."""

_MEMORY_COST = 2**17
"""Of scrypt, as OWASP advises for passwords: 128 MiB for each trial."""
_CONTEXT = b"cloister backup keys 1"


class SealedKeys(msgspec.Struct, frozen=True, kw_only=True):
    """Files of keys, by name, under a passphrase (scrypt, AES-256-GCM)."""

    salt: bytes
    nonce: bytes
    sealed: bytes


def check_passphrase(passphrase: str) -> None:
    """Raise UsageError for one that is soon guessed."""
    if len(passphrase) < LEAST_PASSPHRASE:
        raise UsageError(f"the passphrase of the keys has at least {LEAST_PASSPHRASE} characters")


def seal_keys(keys: Mapping[str, bytes], passphrase: str) -> bytes:
    """Return the keys so that only the passphrase opens them. UsageError for a short one."""
    check_passphrase(passphrase)
    salt, nonce = os.urandom(16), os.urandom(12)
    plain = msgspec.json.encode({name: b64encode(data).decode() for name, data in keys.items()})
    sealed = AESGCM(_derived(passphrase, salt)).encrypt(nonce, plain, _CONTEXT)
    return msgspec.json.encode(SealedKeys(salt=salt, nonce=nonce, sealed=sealed))


def open_keys(data: bytes, passphrase: str) -> Mapping[str, bytes]:
    """Return the keys that `seal_keys` sealed. VaultError for another passphrase, or a damaged file."""
    try:
        kept = msgspec.json.decode(data, type=SealedKeys)
        plain = AESGCM(_derived(passphrase, kept.salt)).decrypt(kept.nonce, kept.sealed, _CONTEXT)
        return {name: b64decode(text) for name, text in msgspec.json.decode(plain, type=dict[str, str]).items()}
    except InvalidTag as error:
        raise VaultError("this is not the passphrase of the backup's keys; nothing was restored") from error
    except (msgspec.MsgspecError, ValueError) as error:
        raise VaultError("the keys in the backup are damaged; nothing was restored") from error


def _derived(passphrase: str, salt: bytes) -> bytes:
    return Scrypt(salt=salt, length=32, n=_MEMORY_COST, r=8, p=1).derive(passphrase.encode())
