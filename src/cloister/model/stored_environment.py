"""Stored environments: named texts in versions that never change."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cloister.errors import ConflictError, NotFoundError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEnvironment:
    """One version of a stored environment."""

    name: str
    version: int
    """Counts from 1, and goes on counting when a deleted name is created again."""
    text: str
    """An environment file."""
    origin: str
    """Where the text came from, in a few words."""
    created_at: datetime
    deleted_at: datetime | None = None
    """When its name was deleted; at the version that was the newest then."""

    @property
    def digest(self) -> str:
        """SHA-256 of the text, in hexadecimal."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def check_stored_name(name: str) -> str:
    """Return `name`. Raises ValueError when no stored environment can have it.

    None can be taken for a path or an address, so that NAME|FILE has one meaning: see `is_file_name`.
    """
    if not _NAME.fullmatch(name) or is_file_name(name):
        raise ValueError(
            "the name of a stored environment has 1 to 128 letters, digits and . _ + -, begins with a letter or digit, "
            "and does not end in .toml"
        )
    return name


def is_file_name(given: str) -> bool:
    """Whether NAME|FILE means a file: it holds a slash or ends in .toml.

    What lies in the current directory decides nothing: a repository must not be able to put its own file in the place
    of a stored environment.
    """
    return "/" in given or given.lower().endswith(".toml")


def conflict(name: str, newest: StoredEnvironment | None, after: int | None) -> ConflictError:
    """Return the error of who knew another newest version (`after`; None: none at all) than there is."""
    if after is None and newest is not None:
        return ConflictError(
            f"there is an environment {name!r} already, in version {newest.version}",
            hint=f"change it: cloister env edit {name}",
        )
    if newest is None:
        return ConflictError(
            f"environment {name!r} was deleted meanwhile", hint=f"create it again: cloister env create {name}"
        )
    return ConflictError(
        f"environment {name!r} was changed meanwhile: version {newest.version} of "
        f"{newest.created_at:%Y-%m-%d %H:%M:%S} UTC (from {newest.origin}) follows version {after}, which you changed",
        hint=f"see what it is now: cloister env show {name}",
    )


def unknown(name: str, *, known: Sequence[str], deleted_at: datetime | None) -> NotFoundError:
    """Return the error of who named an environment that is not stored, or not any more."""
    if deleted_at is not None:
        return NotFoundError(
            f"environment {name!r} was deleted at {deleted_at:%Y-%m-%d %H:%M} UTC",
            hint=f"what it said: cloister env history {name}; create it again: cloister env create {name}",
        )
    if not known:
        return NotFoundError(
            f"there is no environment {name!r}; none is stored",
            hint=f"store one: cloister env create {name} --file FILE; to name a file, write its path: ./{name}",
        )
    return NotFoundError(
        f"there is no environment {name!r}; stored are: {', '.join(known)}",
        hint=f"to name a file, write its path: ./{name}",
    )
