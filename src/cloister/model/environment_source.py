"""Where an environment came from: a stored one, a file, the repository, or nowhere."""

from dataclasses import dataclass
from enum import StrEnum


class SourceKind(StrEnum):
    """A stored one and a file were chosen by the task's user; the repository's was written by whoever wrote that."""

    STORED = "stored"
    FILE = "file"
    REPOSITORY = "repository"
    DEFAULTS = "defaults"


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentSource:
    """Where an environment came from."""

    kind: SourceKind
    version: int | None = None
    """Of a stored one."""
    file: str | None = None
    """Of a file: as the user named it; of the repository's: its path there."""
    commit: str | None = None
    """Of the repository's file."""

    @classmethod
    def of_file(cls, named: str) -> "EnvironmentSource":
        """Of a file that a user named. A name that is not Unicode is kept as far as it can be."""
        return cls(kind=SourceKind.FILE, file=named.encode(errors="replace").decode())


def source_to_text(source: EnvironmentSource) -> str:
    """Return a few words, empty for defaults."""
    match source.kind:
        case SourceKind.STORED:
            return f"version {source.version}"
        case SourceKind.FILE:
            return f"file {source.file}"
        case SourceKind.REPOSITORY:
            return f"{source.file} at {(source.commit or '')[:12]}"
        case SourceKind.DEFAULTS:
            return ""
