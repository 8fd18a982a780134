"""Sandboxes, the commands that run in them, and what comes back."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import NewType

from cloister.model.environment import Limits
from cloister.model.flag import Flag
from cloister.model.secret import SecretValue
from cloister.model.snapshot import SnapshotKey

SandboxName = NewType("SandboxName", str)
"""The attempt's id; letters, digits and hyphens."""

ImageDigest = NewType("ImageDigest", str)
"""64 hexadecimal digits."""

Commit = NewType("Commit", str)
"""A full object id, 40 (SHA-1) or 64 (SHA-256) hexadecimal digits."""

_CLEAN_ROOM = re.compile(r"-clean[0-9]+$")

WORKSPACE = "/workspace"
PROXY_PORT = 3128
"""Where the proxy listens inside every sandbox, on 127.0.0.1 and ::1."""
TRANSPARENT_PORT = 63128
"""Where connections to other addresses arrive; above the ports that the kernel gives to clients."""
NAMES_PORT = 53
"""Where questions for names arrive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxSpec:
    """What a sandbox is made of."""

    image: ImageDigest
    snapshot: SnapshotKey | None
    """The saved disk to start from; None starts from the bare image."""
    directory: str
    """Name of the work tree's folder below /workspace."""
    mirror: Path
    """The host's bare mirror; its objects are lent to the sandbox, read-only."""
    limits: Limits
    beside: SandboxName | None = None
    """Another sandbox of this node: this one starts as that one was at its last checkout, without a patch. It stands on
    the same snapshot, whatever `snapshot` says."""


def clean_room_of(attempted: SandboxName, round: int) -> SandboxName:
    """Return the name of the sandbox in which an attempt's change is checked, in its `round`, from 0."""
    return SandboxName(f"{attempted}-clean{round}")


def attempted_sandbox(name: SandboxName) -> SandboxName:
    """Return the sandbox of the attempt that a sandbox belongs to: itself, or that of its clean room."""
    return SandboxName(_CLEAN_ROOM.sub("", name))


def are_of_one_task(one: SandboxName, other: SandboxName) -> bool:
    """Whether two attempts' sandboxes are of the same task: all but turn and number of their names is the same."""
    return one.rsplit("-", 2)[0] == other.rsplit("-", 2)[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkout:
    """The state that a work tree is put into."""

    commit: Commit
    branch: str
    """The branch that HEAD is put on, made at `commit`."""
    origin: str
    """Address of the remote `origin`, without credentials."""
    patch: bytes = b""
    """A diff applied above the commit; it is part of the later change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One program to run in a container of its own."""

    id: str
    """Unique in its sandbox; starting the same id again attaches to what already runs or ran."""
    argv: tuple[str, ...]
    variables: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, SecretValue] = field(default_factory=dict)
    """Added to the environment; never written to persistent disk or to an argument list."""
    cwd: str = "/"
    stdin: bytes = b""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Read-only files to see in /cloister/in: name to content."""
    packs: Path | None = None
    """A folder of this node to see, read-only, where agents' packs are; see `model.pack`."""
    timeout_seconds: float
    """Wall clock, enforced by the container's supervisor even when we are gone."""
    stuck_seconds: float | None = None
    """How long it may print nothing and compute next to nothing, while nobody is in there; more ends it."""
    output_bytes: int
    """Standard output and error together; more ends the command."""
    read_only_work_tree: bool = False
    """Nobody in the container, root included, can change anything below /workspace."""
    given: Path | None = None
    """A folder of the host to see read-only at /cloister/in/given."""
    shell: tuple[str, ...] = ()
    """The shell of a person who enters the running container, see `SandboxBackend.enter`. Without one, nobody may; a
    command that is given secrets must have none."""
    terminal: bool = False
    """Its three streams are a terminal of its own, which `SandboxBackend.open_terminal` gives to a user."""


class Stream(StrEnum):
    """Where a chunk of output was written to."""

    STDOUT = "stdout"
    STDERR = "stderr"
    NOTE = "note"
    """No output: the word of who watches the container about a person who came or went, see `model.visit`."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of output, as read from the pipe: it may end in the middle of a character."""

    stream: Stream
    data: bytes
    end: int
    """Offset in the process's output from which the next chunk is read."""


class EndCause(StrEnum):
    """What ended a process."""

    EXITED = "exited"
    TIMED_OUT = "timed out"
    OUTPUT_LIMIT = "output limit reached"
    NO_ROOM = "no room for output"
    """On the host; never told to a caller of `Process.wait`, who gets a SandboxError."""
    OUT_OF_MEMORY = "out of memory"
    DISK_FULL = "disk full"
    """It failed by itself, on a disk that had no room left."""
    NO_INODES = "no inodes left"
    """It failed by itself, on a disk that could hold no more files."""
    STUCK = "stuck"
    """It printed nothing and computed next to nothing for too long."""
    STOPPED = "stopped"
    HUNG_UP = "hung up"
    """Whoever had its terminal has gone, or nobody came for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """How a process ended. A non-zero status is an answer, not an error."""

    status: int
    """0 to 255; 128 + N when a signal N ended it."""
    cause: EndCause = EndCause.EXITED
    running: tuple[str, ...] = field(default=(), compare=False)
    """Command lines of what still ran when its time was up, oldest first; what they show may hold secrets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffStats:
    """The size of a change."""

    files: int
    added: int
    """Lines; binary files count as none."""
    removed: int


MOST_PATHS = 2000
"""Of a change, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What an attempt did to the work tree, as git sees it."""

    base: Commit
    commit: Commit
    """The change as a commit above `base`, in `repository`; equals `base` when nothing changed."""
    repository: Path = Path()
    """The host's bare repository that holds `commit`; of no meaning on another host."""
    diff: bytes = b""
    """`git diff --binary` of the two; empty when nothing changed."""
    stats: DiffStats
    flags: tuple[Flag, ...] = ()
    """What deserves a second look, the weightiest first."""
    paths: tuple[str, ...] = ()
    """Of the files that differ, without renames; at most MOST_PATHS. Bytes that are no UTF-8 are replaced."""
