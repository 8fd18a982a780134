"""Files that a repository keeps as pointers to large objects (Git LFS)."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class LargeFile:
    """A pointer of a commit."""

    path: bytes
    digest: str
    """SHA-256 of the object, as hexadecimal digits."""
    size: int
    """Bytes of the object."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LargeFiles:
    """What became of the large files of some commits."""

    files: int = 0
    """How many there are."""
    size: int = 0
    """Bytes of their objects, each counted once."""
    left: int = 0
    """Files whose objects could not be had, so that they stay pointers."""
    reason: str = ""
    """Why."""
