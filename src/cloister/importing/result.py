"""What came of an import."""

from dataclasses import dataclass

from cloister.importing.draft import Note


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedEnvironment:
    """An environment file, and what was made of each line of its source."""

    source: str
    """Path of the file that was read, from the root of the repository."""
    others: tuple[str, ...]
    """Paths of those that could have been read too."""
    text: str
    """The environment file, comments included. It is valid."""
    taken: tuple[Note, ...]
    left: tuple[Note, ...]
    secrets: tuple[str, ...]
    """Names of those that have to be given values."""
