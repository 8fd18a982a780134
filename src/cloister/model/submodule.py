"""Submodules of a commit: other repositories' commits, as folders of its work tree."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Submodules:
    """What became of them."""

    there: int = 0
    """How many are folders of files."""
    left: tuple[str, ...] = ()
    """Those that stay empty folders: the path and why, one text each."""
