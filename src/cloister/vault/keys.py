"""The master key: a file outside the database, and its replacement by a new one."""

import fcntl
import glob
import math
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from cloister.errors import ConflictError, VaultError
from cloister.vault.private_file import draft_of, make_once, read_private, sync_directory, told

KEY_BYTES = 32
ID_BYTES = 8

_WHAT = "the master key"


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
        with told(self.path, _WHAT):
            return self.path.exists()

    def load(self) -> Keyring:
        """Read the keys, making the first one. VaultError when a file is no key or others can read it."""
        with told(self.path, _WHAT):
            if not self.path.exists():
                make_once(self.path, secrets.token_bytes(KEY_BYTES))
            # In the order in which a key moves, so that one that is being replaced meanwhile is met at least once.
            coming, current, former = _find(self._next), _read(self.path), _find(self._previous)
        return Keyring(current=current, by_id={key.id: key for key in (coming, former, current) if key is not None})

    def replaced_seconds_ago(self, now: float) -> float:
        """How long before `now`, in the system's time, the key was replaced; infinite when it never was.

        Infinite too when a replacement was begun and is not complete.
        """
        with told(self.path, _WHAT):
            if self._next.exists() or not self._previous.exists():
                return math.inf
            # Its last change is that it got this name.
            return max(now - self._previous.stat().st_ctime, 0.0)

    @contextmanager
    def replacing(self) -> Iterator[MasterKey]:
        """Yield a new key; it becomes the current one when the block ends well.

        ConflictError while another process, or task, is about it. After a crash the next call goes on with the same
        new key, so that whatever was sealed under it already stays readable.
        """
        self.load()
        with self._locked():
            with told(self._next, _WHAT):
                self._remove_drafts()
                make_once(self._next, secrets.token_bytes(KEY_BYTES))
                key = _read(self._next)
            yield key
            with told(self.path, _WHAT):
                self._retire_current()

    def _retire_current(self) -> None:
        """Every moment in between is a state that `load` reads: each key has a name, and survives a power cut."""
        draft = draft_of(self._previous)
        os.link(self.path, draft)
        draft.replace(self._previous)
        draft.unlink(missing_ok=True)  # it stays where both were names of one file: a kill had come between
        sync_directory(self.path.parent)
        self._next.replace(self.path)
        sync_directory(self.path.parent)

    def _remove_drafts(self) -> None:
        """Of replacements that were killed: each holds a key."""
        for path in (self._previous, self._next):
            for draft in path.parent.glob(f".{glob.escape(path.name)}.*"):
                draft.unlink(missing_ok=True)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with told(self.path, _WHAT):
            descriptor = os.open(self.path.with_name(self.path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            # Not waited for: within one process that would be for ever.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise ConflictError("the master key is being replaced at this moment") from error
        try:
            yield
        finally:
            os.close(descriptor)


def _find(path: Path) -> MasterKey | None:
    try:
        return _read(path)
    except FileNotFoundError:
        return None


def _read(path: Path) -> MasterKey:
    data = read_private(path, _WHAT, limit_bytes=KEY_BYTES)
    if len(data) != KEY_BYTES:
        raise VaultError(f"{path} is no master key: it must have {KEY_BYTES} bytes", hint="restore it from a backup")
    return MasterKey(data)
