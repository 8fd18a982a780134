"""Sandboxes, and what runs in them."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

import anyio

from cloister.model.artifact import FoundFile
from cloister.model.asker import Asker, Connection
from cloister.model.instructions import Restored
from cloister.model.residue import Residue
from cloister.model.sandbox import Change, Checkout, Chunk, Command, Commit, Exit, SandboxName, SandboxSpec
from cloister.model.secret import SecretValue
from cloister.model.snapshot import CheckedDisk, SnapshotKey


class Process(Protocol):
    """One container's process tree. It outlives us: a supervisor outside our process watches it."""

    def output(self, offset: int = 0) -> AsyncIterator[Chunk]:
        """Yield what it printed from `offset` (a former chunk's `end`) until it has ended and all is read.

        May be called any number of times, also after the end and from another process of ours.
        """
        ...

    async def wait(self) -> Exit:
        """Return how it ended, once it has. Any number of callers. SandboxError when its supervisor was lost."""
        ...

    async def lay(self, name: str, data: bytes) -> None:
        """Add a read-only file to those in /cloister/in, or replace it, while it runs. Harmless when it has ended."""
        ...

    def awake(self) -> AbstractContextManager[None]:
        """As long as the block runs, it waits for somebody outside: `stuck_seconds` begin anew at the end of that."""
        ...

    async def stop(self, grace_seconds: float = 0.0) -> None:
        """Ask it to end (SIGTERM), and after the grace kill its whole tree. Returns when it is dead. Harmless twice."""
        ...


class Terminal(Protocol):
    """A user's end of a program's terminal. What passes is neither masked nor kept: it is the user's own."""

    async def read(self) -> bytes:
        """Return what was written to the terminal next; nothing once the program has ended and all is read."""
        ...

    async def write(self, data: bytes) -> None:
        """Type `data`. What comes after the program's end is lost."""
        ...

    def resize(self, columns: int, rows: int) -> None:
        """Tell the program how large the window is: at first 0 by 0."""
        ...

    def close(self) -> None:
        """Hang up: a program that still runs gets SIGHUP, and soon after it is killed. Harmless twice."""
        ...


class EnteredShell(Terminal, Protocol):
    """A person's shell in a running container, at a terminal of its own; nothing more is read after its end."""

    number: int
    """Counts those who entered that container, from 1."""
    status: int | None
    """How it ended, 0 to 255; 137 when its container ended first, None until then."""


@dataclass(frozen=True, slots=True)
class Listeners:
    """Sockets that listen inside a sandbox's network namespace. The owner closes them."""

    proxy: tuple[int, ...]
    """File descriptors of the HTTP proxy's sockets, one per address family."""
    transparent: tuple[int, ...] = ()
    """Where connections to other addresses than loopback arrive; SO_ORIGINAL_DST tells which."""
    names: tuple[int, ...] = ()
    """Of the name server that answers placeholder addresses: datagram sockets, then listening ones."""
    doors: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    """By loopback port, those that stand for an upstream; see `Grant.door`."""

    def descriptors(self) -> tuple[int, ...]:
        """All of them."""
        doors = (descriptor for of_door in self.doors.values() for descriptor in of_door)
        return (*self.proxy, *self.transparent, *self.names, *doors)


class Sandbox(Protocol):
    """The disk, the network namespace and the limits of one attempt."""

    @property
    def stands_on(self) -> SnapshotKey | None:
        """The saved disk below this one: what it was made from, or was last saved as."""
        ...

    @property
    def catches(self) -> bool:
        """Whether programs that ignore the proxy are led to it, or else reach nothing."""
        ...

    async def checkout(self, checkout: Checkout) -> None:
        """Put the work tree into exactly this state, and draw a line.

        What was written before is no part of a later change. Writes only paths that differ. Tracked files,
        `.git/config` and hooks become what a clean checkout makes them; files that setup left untracked stay.
        Git runs outside the reach of anything in the sandbox. No container may run. TaskFailedError when the
        patch does not apply; RepositoryError when the commit is not in the mirror.
        """
        ...

    async def start(self, command: Command) -> Process:
        """Start `command` in a NEW container on this disk, or attach when a command of that id already runs or ran.

        Nothing survives its first process but the disk. SandboxError when the container cannot be made.
        With a terminal it waits a minute for a user; `Process.output` then has nothing of it.
        """
        ...

    def has_started(self, command: str) -> bool:
        """Whether a command of that id runs or ran here: a restarted worker then goes on behind it."""
        ...

    async def find_residue(self, values: Mapping[str, SecretValue]) -> Sequence[Residue]:
        """Search what was written since the last checkout for these values, in all their forms; sorted by path.

        Names of files, targets of links, attributes, and what is packed one level deep count too. Takes bounded memory.
        No container may run. SandboxError when it cannot be done, TaskFailedError when it takes too long: then nothing
        is known.
        """
        ...

    async def scrub(self, values: Mapping[str, SecretValue], found: Sequence[Residue]) -> Sequence[Residue]:
        """Take the values out of what `find_residue` found, where that breaks nothing, and return what still has one.

        A small text file is rewritten, a file of a cache that its tool fills again is removed, and so is an attribute;
        everything else stays as it is. No container may run.
        """
        ...

    async def restore_instructions(self) -> Sequence[Restored]:
        """Undo what was written since the last checkout to files that tell agents what to do, and say what that was.

        They are then as commit and image have them: see `model.instructions`, and the work tree's `.git/config` and
        hooks. A shell's start-up file that leads agents elsewhere is told of (`leads`), and left.
        No container may run. TaskFailedError when more was written than can be looked at.
        """
        ...

    async def changes(self, base: Commit) -> Change:
        """Return what was changed in the work tree since the last checkout, against `base`.

        New, deleted and changed files, modes, symlinks, binaries and submodule pointers, without ignored
        files; computed from the disk outside the agent's reach, executing nothing and reading nothing that
        the work tree points to. No container may run. TaskFailedError when the work tree is not one any more.
        """
        ...

    async def make_shareable(self) -> None:
        """Take out of what was written since the last checkout what no two sandboxes may share.

        Identities, host keys and random seeds of a machine; sockets, pipes and devices. No container may run.
        """
        ...

    async def left_behind(self, change: Change) -> Sequence[str]:
        """Return paths that were written or removed since the last checkout and that `change` does not hold, sorted.

        Outside of the work tree, or ignored in it; the first thousand or so, without caches and logs. No container may
        run.
        """
        ...

    def listeners(self, doors: Collection[int] = ()) -> Listeners:
        """Return new duplicates of the listening sockets inside the namespace, and new ones at the ports `doors`."""
        ...

    async def owner_of(self, connection: Connection) -> Asker | None:
        """Return the process in here that holds the connection now; None when it cannot be found. Never fails.

        Takes milliseconds, however many files the sandbox has open. Any number of callers; a few are served at once.
        """
        ...

    async def snapshot(self, key: SnapshotKey) -> bool:
        """Save the disk as `key`, atomically and in constant time; this sandbox goes on above it.

        No container may run. False when `key` is already kept, or a sandbox stands on a damaged disk of that key: then
        nothing is saved. A damaged one that nothing stands on is replaced. Where the sandbox stands on a saved disk,
        the new one stands on that too. SandboxError when anything ran since the last checkout.
        """
        ...

    async def keep_final_disk(self, key: SnapshotKey) -> SnapshotKey | None:
        """Keep the disk as its agent left it, for follow-ups of the same task; return the snapshot that it stands on.

        A sandbox that is made from it starts with all of that, but for what is below /cloister/out. It is never checked
        out or saved as a snapshot (SandboxError), and has in its change what agents wrote before it too; a sandbox
        beside it has nothing of theirs. Made from a final disk itself, this one's stands on what that one does. What
        was kept under `key` before is replaced. It is a copy: this sandbox stays as it is. No container may run.
        """
        ...

    async def read_file(self, path: str, *, limit_bytes: int) -> bytes | None:
        """Return a regular file below /cloister/out as the sandbox left it, cut at the limit; None when absent.

        Follows no symlink.
        """
        ...

    async def list_files(self, folder: str, *, most: int) -> Sequence[FoundFile]:
        """Return what lies in a folder below /cloister/out and in its folders, sorted by path; empty when absent.

        At most so many, and not what lies deeper than 16 folders. Follows no symlink. No container may run.
        """
        ...

    def tail(self, path: str, over: anyio.Event, *, limit_bytes: int) -> AsyncIterator[bytes]:
        """Yield what a regular file below /cloister/out grows by, until `over` is set and the rest is read.

        Never more than the limit. Follows no symlink. Of a file that is absent, shorter than what was read or no file
        at all, nothing comes until it is otherwise. Never fails. New bytes are seen within a second.
        """
        ...


class SandboxBackend(Protocol):
    """Makes sandboxes on this node: oci, fake."""

    @property
    def runtime(self) -> str:
        """Name and version of what makes its containers."""
        ...

    @property
    def not_enforced(self) -> Sequence[str]:
        """Keys of the environment file that bound nothing on this node, such as `limits.disk`."""
        ...

    def expect(self) -> None:
        """Hear that somebody will soon ask for a sandbox and start a command in it, or not; returns at once."""
        ...

    async def create(self, name: SandboxName, spec: SandboxSpec) -> Sandbox:
        """Find or create. A found one keeps its disk and its running containers.

        NotFoundError when the image, the snapshot or the sandbox beside it is not on this node, or a final disk stands
        on another image; SandboxError when that is another task's; HostError when the host lacks something.
        """
        ...

    async def destroy(self, name: SandboxName) -> None:
        """Kill its containers and remove every trace. Absent is not an error; always safe to repeat."""
        ...

    async def list(self) -> Sequence[SandboxName]:
        """Every sandbox on this node, also half-made ones, so that strays can be found."""
        ...

    async def open_terminal(self, name: SandboxName, command: str) -> Terminal:
        """Return the terminal of a command that runs in that sandbox, whichever process of ours started it.

        It is given away once: when its holder closes it, or dies, the program is hung up. ConflictError when somebody
        had it before; NotFoundError when no such command with a terminal runs.
        """
        ...

    async def enter(self, name: SandboxName, *, terminal: str) -> EnteredShell:
        """Start a shell in the container of that sandbox in which an agent runs, whichever process of ours started it.

        One more process of that container: its namespaces, limits, variables and capabilities, with `terminal` as
        TERM. It is noted among the chunks of the agent's command that somebody came, and went. Whoever closes the
        terminal, or dies, hangs it up; with the container it is killed. NotFoundError when no agent runs there, or
        `Command.shell` lets nobody in.
        """
        ...

    async def has_snapshot(self, key: SnapshotKey) -> bool:
        """Whether a complete, usable disk of that key is kept here."""
        ...

    async def flaw_of_snapshot(self, key: SnapshotKey) -> str | None:
        """Say in a few words why there is no usable disk of that key: `its disk is gone`. None when there is one."""
        ...

    async def snapshots(self) -> Sequence[SnapshotKey]:
        """Every disk that is kept here, also one that cannot be used."""
        ...

    async def size_of_snapshot(self, key: SnapshotKey) -> int | None:
        """Bytes that its disk takes, without those below it; counted once it is kept, and None until that is done."""
        ...

    async def digest_of_snapshot(self, key: SnapshotKey) -> str | None:
        """SHA-256 of its disk and those below; computed once it is kept, and None until that is done, or if it cannot.

        Of every name, byte, mode, owner and attribute. Of a disk that was merged meanwhile it is another one.
        """
        ...

    async def check_snapshot(self, key: SnapshotKey) -> Sequence[CheckedDisk]:
        """Read its disk and those below, topmost first, to tell whether they are what was kept.

        NotFoundError when it is not here; SandboxError when it cannot be read.
        """
        ...

    async def remove_snapshot(self, key: SnapshotKey) -> None:
        """Forget it. Absent is not an error; ConflictError while a sandbox, or another snapshot, stands on it."""
        ...

    async def claim_build(self, key: SnapshotKey, *, wait: bool) -> AbstractContextManager[None] | None:
        """Become the only one on this node, in all its processes, who makes the disk of `key`, until the context ends.

        The context must be entered at once; it ends with our process too, however that ends. While another one has the
        claim: None, or with `wait` return when it is ours. Look again then, because the disk may be there.
        """
        ...
