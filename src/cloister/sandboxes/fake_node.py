"""A machine that has sandboxes, all in memory."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import anyio
import anyio.lowlevel

from cloister.model.sandbox import Checkout, Command, DiffStats, ImageDigest, SandboxName, SandboxSpec
from cloister.model.snapshot import SnapshotKey
from cloister.sandboxes.fake_program import Program, Run

_NO_STATS = DiffStats(files=0, added=0, removed=0)


@dataclass(slots=True, kw_only=True)
class Disk:
    """The disk of one sandbox, and what ran on it."""

    spec: SandboxSpec
    stands_on: SnapshotKey | None
    checkout: Checkout | None = None
    clean: bool = False
    """Whether nothing ran since the checkout."""
    runs: dict[str, Run] = field(default_factory=dict)
    sealed: set[str] = field(default_factory=set)
    """Commands that ran before the checkout."""
    scrubbed: set[str] = field(default_factory=set)
    """Paths."""


class FakeNode:
    """What outlives a worker: images, disks, containers, saved disks. A second backend over it is the next worker."""

    def __init__(
        self,
        *,
        programs: Mapping[str, Program] | None = None,
        diff: bytes = b"",
        stats: DiffStats = _NO_STATS,
        catches: bool = True,
    ) -> None:
        self.programs = dict(programs or {})
        """By command id; a command that is not in it must not be started."""
        self.diff = diff
        """What `changes` finds."""
        self.stats = stats
        self.catches = catches
        """Whether sandboxes lead programs that ignore the proxy to it."""
        self.images: set[ImageDigest] = set()
        self.snapshots: set[SnapshotKey] = set()
        self.disks: dict[SandboxName, Disk] = {}
        self.below: dict[SnapshotKey, SnapshotKey] = {}
        """What saved disks stand on."""
        self.final: dict[SnapshotKey, tuple[SandboxName, Checkout, ImageDigest]] = {}
        """Of saved disks, those that an agent left: in which sandbox, at which checkout, on which image."""
        self.sizes: dict[SnapshotKey, int] = {}
        self.digests: dict[SnapshotKey, str] = {}
        """Of saved disks, once they are counted."""
        self.flaws: dict[SnapshotKey, str] = {}
        """What keeps a saved disk from being used."""
        self.claims: dict[SnapshotKey, anyio.Event] = {}
        """Snapshots that somebody makes; the event is set when he does no more."""
        self.commands: list[Command] = []
        """Every command that was started, without those that were attached to."""

    def is_in_use(self, key: SnapshotKey) -> bool:
        """Whether a sandbox, or another saved disk, stands on that one."""
        return any(disk.stands_on == key for disk in self.disks.values()) or key in self.below.values()

    def release(self, sandbox: SandboxName, command: str) -> None:
        """Let a held program go on to its next hold, or to its end."""
        self.disks[sandbox].runs[command].release()

    def release_all(self) -> None:
        """Let every held program go on to its end."""
        for disk in self.disks.values():
            for run in disk.runs.values():
                while run.ended is None:
                    run.release()
