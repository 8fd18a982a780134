"""The master key: a file outside the database, and its replacement by a new one."""

import fcntl
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from cloister.errors import VaultError

KEY_BYTES = 32
ID_BYTES = 8


@dataclass(frozen=True, slots=True, repr=False)
class MasterKey:
    """256 random bits, never used themselves: each purpose has a key of its own, derived by HKDF (RFC 5869)."""

    _secret: bytes

    @property
    def id(self) -> bytes:
        """Tells which key a value was sealed under, and nothing of the key."""
        return self.derive("key id")[:ID_BYTES]

    def derive(self, purpose: str) -> bytes:
        """Return the key of 32 bytes for that purpose."""
        return HKDF(SHA256(), KEY_BYTES, salt=None, info=b"cloister " + purpose.encode()).derive(self._secret)

    def __repr__(self) -> str:
        return f"MasterKey({self.id.hex()})"


@dataclass(frozen=True, slots=True)
class Keyring:
    """The master keys that are known at one moment."""

    current: MasterKey
    """Seals."""
    by_id: Mapping[bytes, MasterKey]
    """Open."""


class KeyFile:
    """The file of the master key, made at its first use, and its neighbours while the key is replaced.

    `<file>.next` is there only during a replacement; `<file>.previous` after one, because another process may
    have sealed a value under it in the meantime.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._next = path.with_name(path.name + ".next")
        self._previous = path.with_name(path.name + ".previous")

    def exists(self) -> bool:
        """Whether the current key is there. VaultError when that cannot be told."""
        with _told(self.path):
            return self.path.exists()

    def load(self) -> Keyring:
        """Read the keys, making the first one. VaultError when a file is no key or others can read it."""
        with _told(self.path):
            if not self.path.exists():
                self._make_first()
            current = _read(self.path)
            others = [_read(path) for path in (self._next, self._previous) if path.exists()]
        return Keyring(current=current, by_id={key.id: key for key in (*others, current)})

    @contextmanager
    def replacing(self) -> Iterator[MasterKey]:
        """Yield a new key; it becomes the current one when the block ends well.

        One process at a time. After a crash the next call goes on with the same new key, so that whatever was
        sealed under it already stays readable.
        """
        self.load()
        with self._locked():
            with _told(self._next):
                if not self._next.exists():
                    _write_new(self._next, secrets.token_bytes(KEY_BYTES))
                key = _read(self._next)
            yield key
            with _told(self.path):
                self._retire_current()

    def _make_first(self) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = self.path.with_name(f".{self.path.name}.{secrets.token_hex(8)}")
        _write_new(draft, secrets.token_bytes(KEY_BYTES))
        try:
            # A link, because unlike a rename it never replaces the key of a process that was quicker.
            os.link(draft, self.path)
        except FileExistsError:
            return
        finally:
            draft.unlink()
        _sync_directory(self.path.parent)

    def _retire_current(self) -> None:
        draft = self._previous.with_name(f".{self._previous.name}.{secrets.token_hex(8)}")
        os.link(self.path, draft)
        draft.replace(self._previous)
        self._next.replace(self.path)
        _sync_directory(self.path.parent)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        descriptor = os.open(self.path.with_name(self.path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _read(path: Path) -> MasterKey:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        mode = os.fstat(descriptor).st_mode
        data = os.read(descriptor, KEY_BYTES + 1)
    finally:
        os.close(descriptor)
    if mode & 0o077:
        raise VaultError(f"others than its owner may use the master key {path}", hint=f"chmod 600 {path}")
    if len(data) != KEY_BYTES:
        raise VaultError(f"{path} is no master key: it must have {KEY_BYTES} bytes", hint="restore it from a backup")
    return MasterKey(data)


def _write_new(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise VaultError(f"the master key {path} cannot be used: {error.strerror}") from error
