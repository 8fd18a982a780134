"""Where a node keeps what: a state directory that lasts, and a directory on tmpfs that does not."""

import contextlib
import fcntl
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cloister.errors import HostError
from cloister.model.sandbox import SandboxName

_CANDIDATES = ("/run", "/dev/shm")


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePaths:
    """The two directories. Secrets may only ever be written below `runtime`."""

    state: Path
    runtime: Path

    @property
    def disks(self) -> Path:
        """One directory per sandbox."""
        return self.state / "disks"

    @property
    def snapshots(self) -> Path:
        """One directory per key."""
        return self.state / "snapshots"

    @property
    def claims(self) -> Path:
        """One locked file per snapshot that is being made."""
        return self.state / "claims"

    @property
    def results(self) -> Path:
        """Bare repositories that hold collected changes, one per mirror."""
        return self.state / "results"

    @property
    def exports(self) -> Path:
        """Images that are being pushed."""
        return self.state / "exports"

    @property
    def volumes(self) -> Path:
        """Templates of the file systems that sandboxes write to."""
        return self.state / "volumes"

    @property
    def spare_disks(self) -> Path:
        """One directory per process that has spares."""
        return self.state / "spares"

    @property
    def trash(self) -> Path:
        """What is being removed."""
        return self.state / "trash"

    @property
    def sandboxes(self) -> Path:
        """Mounts, namespaces and processes, one directory per sandbox."""
        return self.runtime / "sandboxes"

    @property
    def spare_sandboxes(self) -> Path:
        """The live parts of spares, one directory per process."""
        return self.runtime / "spares"

    @property
    def containers(self) -> Path:
        """The OCI runtime's own state."""
        return self.runtime / "containers"

    def disk(self, name: SandboxName) -> Path:
        """The disk of a sandbox."""
        return self.disks / name

    def sandbox(self, name: SandboxName) -> Path:
        """The live parts of a sandbox."""
        return self.sandboxes / name


def paths_of(state: Path) -> NodePaths:
    """Say where things are, whether they are there or not. HostError when there is no tmpfs to use."""
    instance = hashlib.sha256(str(state.resolve()).encode()).hexdigest()[:12]
    return NodePaths(state=state, runtime=_tmpfs() / f"cloister-{instance}")


@contextmanager
def open_paths(state: Path, group: int) -> Iterator[NodePaths]:
    """Make the directories; the last process that leaves takes the empty ones on tmpfs away again.

    HostError when there is no tmpfs to use.

    `state` is ours alone. Through `runtime` the `group` of container roots may pass, because a runtime looks up
    the root file system when it already is that user.
    """
    paths = paths_of(state)
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (state / "node.lock").open("a") as users:
        fcntl.flock(users, fcntl.LOCK_SH)
        lasting = (paths.disks, paths.snapshots, paths.claims, paths.results, paths.spare_disks, paths.trash)
        for directory in lasting:
            directory.mkdir(mode=0o700, exist_ok=True)
        for directory in (paths.runtime, paths.sandboxes, paths.spare_sandboxes, paths.containers):
            make_passage(directory, group)
        try:
            yield paths
        finally:
            with contextlib.suppress(OSError):  # others are still here, or something runs on
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                for directory in (paths.sandboxes, paths.spare_sandboxes, paths.containers, paths.runtime):
                    directory.rmdir()


def _tmpfs() -> Path:
    kinds = {line.split()[1]: line.split()[2] for line in Path("/proc/self/mounts").read_text().splitlines()}
    for candidate in _CANDIDATES:
        if kinds.get(candidate) == "tmpfs":
            return Path(candidate)
    raise HostError(f"no tmpfs at {' or '.join(_CANDIDATES)}, so secrets could touch a disk", hint="cloister doctor")


def make_passage(directory: Path, group: int) -> None:
    """Make a directory that only we can list and write, and only `group` can pass through.

    One that another user made first is refused: /dev/shm is open to all.
    """
    directory.mkdir(mode=0o700, exist_ok=True)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise HostError(f"{directory} is not a directory of ours; remove it")
    os.chown(directory, -1, group)
    directory.chmod(0o710)
