"""Spare berths: made while nothing starts, so that a start moves one into its place and waits for the kernel no more.

Each was made for nobody, by the same function as one that is made on demand, and is used once. A process keeps its own
below a directory that it has locked; whoever opens the node next sweeps those of a process that was killed.
"""

import fcntl
import secrets
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import anyio
import structlog
from anyio import to_thread

from cloister.errors import CloisterError
from cloister.model.environment import Limits
from cloister.model.sandbox import SandboxName
from cloister.sandboxes.oci import syscalls
from cloister.sandboxes.oci.berth import make_berth
from cloister.sandboxes.oci.directory_lock import locked
from cloister.sandboxes.oci.network import ListeningSockets
from cloister.sandboxes.oci.node import Node

PAUSE_SECONDS = 0.05
"""From the last start to the making of a spare: by then its agent runs, and nothing competes with it."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Spare:
    live: Path
    disk: Path
    sockets: ListeningSockets
    limits: Limits

    def fits(self, limits: Limits) -> bool:
        """Whether its disk is as large as these want it."""
        return (self.limits.disk_bytes, self.limits.inodes) == (limits.disk_bytes, limits.inodes)


class Spares:
    """The spares of one process."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._ready: list[_Spare] = []
        self._wanted = Limits()
        self._taken_at = 0.0
        self._taken = anyio.Event()

    def take(self, name: SandboxName, limits: Limits) -> ListeningSockets | None:
        """Move a spare to where the berth of that sandbox shall be; None when there is none of that size."""
        self._wanted, self._taken_at = limits, anyio.current_time()
        self._taken.set()
        spare = self._find(limits)
        if spare is None:
            return None
        self._ready.remove(spare)
        spare.disk.rename(self._node.paths.disk(name))
        spare.live.rename(self._node.paths.sandbox(name))
        return spare.sockets

    async def keep(self, most: int) -> None:
        """Have so many ready, from a moment after each start on, until cancelled; then none is left.

        They are as large as the last start wanted its disk, and the one that was made first makes room for another
        size.
        """
        if most == 0:
            return
        with self._owned() as owner:
            try:
                while True:
                    await self._fill(owner, most)
                    await self._taken.wait()
                    self._taken = anyio.Event()
            finally:
                while self._ready:
                    self._discard(self._ready.pop())

    def sweep(self) -> None:
        """Remove those of processes that were killed."""
        places = self._node.paths.spare_disks
        with locked(places, fcntl.LOCK_EX):
            for place in list(places.iterdir()):
                with suppress(BlockingIOError, FileNotFoundError), locked(place, fcntl.LOCK_EX | fcntl.LOCK_NB):
                    self._remove(place.name)

    async def _fill(self, owner: str, most: int) -> None:
        while len(self._ready) < most or self._find(self._wanted) is None:
            await self._until_quiet()
            try:
                self._ready.append(await to_thread.run_sync(self._make, owner, self._wanted))
            except (CloisterError, OSError) as error:  # who needs one then is told, or finds that it passed
                _log.warning("no spare could be made", error=str(error))
                return
            if len(self._ready) > most:
                self._discard(self._ready.pop(0))

    async def _until_quiet(self) -> None:
        while (ends_at := self._taken_at + PAUSE_SECONDS) > anyio.current_time():  # noqa: ASYNC110
            await anyio.sleep_until(ends_at)

    def _find(self, limits: Limits) -> _Spare | None:
        return next((spare for spare in self._ready if spare.fits(limits)), None)

    def _make(self, owner: str, limits: Limits) -> _Spare:
        name = secrets.token_hex(4)
        live, disk = self._node.paths.spare_sandboxes / owner / name, self._node.paths.spare_disks / owner / name
        disk.mkdir(mode=0o700)
        try:
            sockets = make_berth(self._node, live, disk, limits)
        except BaseException:
            self._remove_places(live, disk)
            raise
        return _Spare(live=live, disk=disk, sockets=sockets, limits=limits)

    def _discard(self, spare: _Spare) -> None:
        spare.sockets.close()
        self._remove_places(spare.live, spare.disk)

    def _remove_places(self, live: Path, disk: Path) -> None:
        syscalls.unmount_all(str(live / "netns"))
        shutil.rmtree(live, ignore_errors=True)
        self._node.trash.throw(disk)

    @contextmanager
    def _owned(self) -> Iterator[str]:
        """Make this process's directories, which stay locked for as long as it lives; yields their name."""
        places, owner = self._node.paths.spare_disks, secrets.token_hex(8)
        with ExitStack() as stack:
            with locked(places, fcntl.LOCK_EX):  # between the making and the lock, nobody sweeps
                (places / owner).mkdir(mode=0o700)
                stack.enter_context(locked(places / owner, fcntl.LOCK_EX | fcntl.LOCK_NB))
            (self._node.paths.spare_sandboxes / owner).mkdir(mode=0o700)
            try:
                yield owner
            finally:
                self._remove(owner)

    def _remove(self, owner: str) -> None:
        for live in (self._node.paths.spare_sandboxes / owner).glob("*"):
            syscalls.unmount_all(str(live / "netns"))
        shutil.rmtree(self._node.paths.spare_sandboxes / owner, ignore_errors=True)
        self._node.trash.throw(self._node.paths.spare_disks / owner)
