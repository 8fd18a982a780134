"""Seals one value: AES-256-GCM under a key of its own, which is wrapped by the master key (RFC 3394).

A sealed value is `format | master key's id | wrapped data key | nonce | ciphertext and tag`. The data key is
what a new master key wraps anew; the value itself is not touched then.
"""

import json
import os
import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from cloister.errors import VaultError
from cloister.vault.keys import ID_BYTES, KEY_BYTES, Keyring, MasterKey

_FORMAT = 1
_NONCE_BYTES = 12
_WRAPPED_BYTES = KEY_BYTES + 8
_HEADER = struct.Struct(f">B{ID_BYTES}s{_WRAPPED_BYTES}s")
_PURPOSE = "wrapping of data keys"


def seal(plain: bytes, place: tuple[str, ...], keyring: Keyring) -> bytes:
    """Seal `plain` so that it opens at `place` alone (its environment, name and version)."""
    data_key, nonce = AESGCM.generate_key(bit_length=8 * KEY_BYTES), os.urandom(_NONCE_BYTES)
    header = _wrap(data_key, keyring.current)
    return header + nonce + AESGCM(data_key).encrypt(nonce, plain, _associated(place))


def unseal(sealed: bytes, place: tuple[str, ...], keyring: Keyring) -> bytes:
    """Return what was sealed at `place`. VaultError when it was not, or was changed, or its key is not here."""
    data_key, box = _unwrap(sealed, keyring)
    nonce, ciphertext = box[:_NONCE_BYTES], box[_NONCE_BYTES:]
    try:
        return AESGCM(data_key).decrypt(nonce, ciphertext, _associated(place))
    except (InvalidTag, ValueError) as error:
        raise VaultError(f"the sealed value of {' '.join(place)} was changed, or belongs elsewhere") from error


def rewrap(sealed: bytes, keyring: Keyring, new: MasterKey) -> bytes:
    """Return the sealed value with its data key wrapped by `new`. VaultError as for `unseal`."""
    data_key, box = _unwrap(sealed, keyring)
    return _wrap(data_key, new) + box


def _wrap(data_key: bytes, master: MasterKey) -> bytes:
    return _HEADER.pack(_FORMAT, master.id, aes_key_wrap(master.derive(_PURPOSE), data_key))


def _unwrap(sealed: bytes, keyring: Keyring) -> tuple[bytes, bytes]:
    if len(sealed) < _HEADER.size or sealed[0] != _FORMAT:
        raise VaultError("a sealed value is not of a form that this version knows")
    _, key_id, wrapped = _HEADER.unpack_from(sealed)
    master = keyring.by_id.get(key_id)
    if master is None:
        raise VaultError(
            f"a value was sealed under the master key {key_id.hex()}, which is not here",
            hint="restore the master key's file from a backup, or set the secret again",
        )
    try:
        return aes_key_unwrap(master.derive(_PURPOSE), wrapped), sealed[_HEADER.size :]
    except InvalidUnwrap as error:
        raise VaultError("the data key of a sealed value was changed") from error


def _associated(place: tuple[str, ...]) -> bytes:
    # JSON, so that no two places read the same ("a" + "bc", "ab" + "c").
    return json.dumps(place).encode()
