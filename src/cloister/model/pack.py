"""Packs: an agent's program with all that it needs, seen read-only in the sandboxes where it works."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cloister.errors import NotFoundError

PACKS = "/opt/cloister/agents"
"""Where a sandbox sees the pack of the agent that works in it, in a folder of the agent's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackPart:
    """One package of a registry, unpacked; nothing that it brings is run."""

    npm: str | None = None
    """`name@version`, where `{arch}` is x64 or arm64."""
    wheel: str | None = None
    """`name==version` of the Python registry."""
    folder: str = "."
    """Which folder of the unpacked package becomes `place`; `{machine}` is x86_64 or aarch64."""
    place: str
    """Where it is in the pack."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonPart:
    """A Python program, with an interpreter and a C library of its own."""

    requirement: str
    """`name==version`, wheels only, with all that it needs."""
    module: str
    """What `python -m` runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackRecipe:
    """What a pack is made of."""

    name: str
    """The agent's."""
    version: str
    parts: tuple[PackPart, ...] = ()
    python: PythonPart | None = None
    program: str
    """What is run, from the pack's own folder; of a `python` part a script that is made."""
    needs: str
    """What an image must have, in a few words."""

    @property
    def path(self) -> str:
        """Where a sandbox sees the program."""
        return f"{PACKS}/{self.name}/{self.program}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """An installed one."""

    name: str
    version: str
    digest: str
    """SHA-256 of its whole tree."""
    size_bytes: int
    installed_at: datetime
    place: Path
    """The folder of this node that sandboxes see as PACKS."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedAgent:
    """An agent, and what of it is on this machine."""

    agent: str
    """Its name."""
    installed: str | None
    """The version of its pack that is here; None when none is."""
    digest: str | None
    size_bytes: int | None
    installed_at: datetime | None
    known: str | None
    """The version that would be installed now; None when it needs no pack."""
    api: str | None
    """What it speaks with its model."""
    needs: str | None
    """What an image must have, in a few words."""


def not_installed(agent: str) -> NotFoundError:
    """Return the answer to who asks for an agent that nobody installed.

    A task never installs: whoever writes a repository must not choose what a node fetches.
    """
    return NotFoundError(
        f"agent {agent!r} is not installed here", hint=f"install it once: cloister agent install {agent}"
    )
