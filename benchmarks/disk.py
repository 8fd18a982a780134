"""A sandbox's disk, both kinds side by side: a directory, and a sparse ext4 image behind a loop device."""

import functools
import gc
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from measure import Report, Samples, publish, take_turns

from cloister.sandboxes.oci import syscalls
from cloister.sandboxes.oci.loop import copy_sparse, make_file_system, mount_file
from cloister.sandboxes.oci.overlay import mount_overlay

ROUNDS = 7
IDLE_DISKS = 100
IDLE_ROUNDS = 3
_SIZE_BYTES = 10 * 2**30
_INODES = 1_000_000
_MEGABYTE = secrets.token_bytes(1_000_000)


class Kind(Protocol):
    """A kind of disk. `place` is where one disk's files lie; its overlay is mounted at `place`/root."""

    def create(self, place: Path) -> None:
        """Make an empty disk, not mounted."""

    def mount(self, place: Path, *below: Path) -> None:
        """Mount an overlay whose upper is the disk, above these directories."""

    def unmount(self, place: Path) -> None:
        """Take the overlay, and what it stands on, away."""

    def lower(self, place: Path) -> Path:
        """Make what was written to an unmounted disk usable as a lower directory, and return it."""

    def release(self, place: Path) -> None:
        """Undo `lower`."""


class DirectoryKind:
    """The upper is a directory of the host's file system."""

    def create(self, place: Path) -> None:
        for name in ("upper", "root"):
            (place / name).mkdir(parents=True)

    def mount(self, place: Path, *below: Path) -> None:
        _mount(place, place, below)

    def unmount(self, place: Path) -> None:
        syscalls.unmount_all(str(place / "root"))

    def lower(self, place: Path) -> Path:
        return place / "upper"

    def release(self, place: Path) -> None:
        """Nothing was done."""


class LoopKind:
    """The upper is a directory in a file system of its own."""

    def __init__(self, make: Callable[[Path], None]) -> None:
        self._make = make
        self._devices: dict[Path, str] = {}

    def create(self, place: Path) -> None:
        for name in ("disk", "root"):
            (place / name).mkdir(parents=True)
        self._make(place / "image")

    def mount(self, place: Path, *below: Path) -> None:
        self._devices[place] = mount_file(place / "image", place / "disk")
        (place / "disk" / "upper").mkdir()
        _mount(place, place / "disk", below)

    def unmount(self, place: Path) -> None:
        syscalls.unmount_all(str(place / "root"))
        self.release(place)

    def lower(self, place: Path) -> Path:
        self._devices[place] = mount_file(place / "image", place / "disk", read_only=True)
        return place / "disk" / "upper"

    def release(self, place: Path) -> None:
        _unmount_file_system(place / "disk", self._devices.pop(place))


def _unmount_file_system(target: Path, device: str) -> None:
    """Unmount, and return when the file is free.

    A mount namespace that was made meanwhile (an OCI runtime starting) holds a copy of the mount, and with it the
    file system. To mount the file again before that is gone would be two writers on one disk.
    """
    syscalls.unmount_all(str(target))
    while Path(f"/sys/block/{device}/loop/backing_file").exists():
        time.sleep(0.0002)


def _mount(place: Path, disk: Path, below: tuple[Path, ...]) -> None:
    work = disk / "work"
    work.mkdir()
    mount_overlay(place / "root", lowers=list(below), upper=disk / "upper", work=work)


class Bench:
    """Measures one kind below one directory.

    What was written stays until the end: an ext4 without a journal takes no inode that was freed in the last minute
    (`recently_deleted` in fs/ext4/ialloc.c), so that removing would be measured as slow creating.
    """

    def __init__(self, kind: Kind, folder: Path) -> None:
        self._kind = kind
        self._folder = folder
        self._base = folder / "base"
        self._base.mkdir(parents=True)

    def create(self) -> float:
        place = self._new()
        with timed() as seconds:
            self._kind.create(place)
        shutil.rmtree(place)
        return seconds()

    def mount(self) -> float:
        place = self._new()
        self._kind.create(place)
        with timed() as seconds:
            self._kind.mount(place, self._base)
        self._remove(place)
        return seconds()

    def write_large(self) -> float:
        """Write 100 MB in 2,000 files."""
        return self._write(write_large_files)

    def write_small(self) -> float:
        """Write 5,000 files of 4 KB in 500 folders as an installer does: draft, rename, chmod."""
        return self._write(write_small_files)

    def tear_down_empty(self) -> float:
        """Unmount and remove a disk that nothing was written to."""
        place = self._mounted()
        with timed() as seconds:
            self._remove(place)
        return seconds()

    def tear_down_full(self) -> float:
        """Unmount and remove a disk with 100 MB in 2,000 files just written."""
        place = self._mounted()
        write_large_files(place / "root")
        with timed() as seconds:
            self._remove(place)
        return seconds()

    def snapshot(self) -> float:
        """Unmount a disk with 100 MB just written, and rename it."""
        place = self._mounted()
        write_large_files(place / "root")
        kept = self._new()
        with timed() as seconds:
            self._kind.unmount(place)
            place.rename(kept)
        return seconds()

    def use_snapshot(self) -> float:
        """Mount a new disk above a kept one that nothing stands on yet."""
        kept, place = self._kept(), self._new()
        self._kind.create(place)
        with timed() as seconds:
            self._kind.mount(place, self._kind.lower(kept), self._base)
        self._remove(place)
        self._kind.release(kept)
        return seconds()

    def idle_memory(self) -> float:
        """Return the KiB of host memory per idle mounted disk."""
        places = [self._new() for _ in range(IDLE_DISKS)]
        before = _memory_in_use()
        try:
            for place in places:
                self._kind.create(place)
                self._kind.mount(place, self._base)
            return (_memory_in_use() - before) / IDLE_DISKS
        finally:
            for place in places:
                self._remove(place)

    def _write(self, write: Callable[[Path], None]) -> float:
        place = self._mounted()
        with timed() as seconds:
            write(place / "root")
        self._kind.unmount(place)
        return seconds()

    def _new(self) -> Path:
        return self._folder / secrets.token_hex(4)

    def _mounted(self) -> Path:
        place = self._new()
        self._kind.create(place)
        self._kind.mount(place, self._base)
        return place

    def _kept(self) -> Path:
        place = self._mounted()
        write_large_files(place / "root")
        self._kind.unmount(place)
        return place

    def _remove(self, place: Path) -> None:
        self._kind.unmount(place)
        shutil.rmtree(place)


def write_large_files(root: Path) -> None:
    for folder in range(40):
        (root / f"{folder}").mkdir()
        for number in range(50):
            (root / f"{folder}" / f"{number}").write_bytes(_MEGABYTE[:50_000])


def write_small_files(root: Path) -> None:
    for folder in range(500):
        place = root / f"{folder}"
        place.mkdir()
        for number in range(10):
            draft, path = place / f"{number}.draft", place / f"{number}.py"
            draft.write_bytes(_MEGABYTE[:4000])
            draft.rename(path)
            path.chmod(0o644)


@contextmanager
def timed() -> Iterator[Callable[[], float]]:
    """Yield a function that returns the seconds which the block took."""
    gc.disable()
    begun = time.perf_counter()
    ended = begun
    try:
        yield lambda: ended - begun
    finally:
        ended = time.perf_counter()
        gc.enable()


def _memory_in_use() -> int:
    """Return the KiB that the kernel itself holds and would not give back."""
    Path("/proc/sys/vm/drop_caches").write_text("3")
    lines = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    fields = {name.rstrip(":"): int(number) for name, number, *_ in lines}
    return sum(fields[name] for name in ("Slab", "Percpu", "KernelStack", "Buffers"))


ROWS: dict[str, Callable[[Bench], float]] = {
    "create": Bench.create,
    "mount": Bench.mount,
    "write 100 MB in 2,000 files": Bench.write_large,
    "write 5,000 small files": Bench.write_small,
    "unmount and rename, 100 MB": Bench.snapshot,
    "first mount above a kept disk": Bench.use_snapshot,
    "unmount and remove, empty": Bench.tear_down_empty,
    "unmount and remove, 100 MB": Bench.tear_down_full,
}


def _probe(row: Callable[[Bench], float], bench: Bench) -> Callable[[], Awaitable[float]]:
    async def probe() -> float:
        os.sync()  # what the one wrote is not the other's burden
        return row(bench)

    return probe


async def _measure(folder: Path) -> list[Samples]:
    template = folder / "template"
    make = functools.partial(make_file_system, size_bytes=_SIZE_BYTES, inodes=_INODES)
    make(template)
    kinds: dict[str, Kind] = {
        "directory": DirectoryKind(),
        "loop, mkfs": LoopKind(make),
        "loop, template": LoopKind(functools.partial(copy_sparse, template)),
    }
    benches = {name: Bench(kind, folder / str(number)) for number, (name, kind) in enumerate(kinds.items())}
    samples: list[Samples] = []
    for row, measure in ROWS.items():
        of_row = await take_turns(row, {name: _probe(measure, bench) for name, bench in benches.items()}, rounds=ROUNDS)
        samples += of_row.values()
    for name, bench in benches.items():
        values = tuple(bench.idle_memory() for _ in range(IDLE_ROUNDS))
        samples.append(Samples(row=f"memory per idle disk, of {IDLE_DISKS}", subject=name, unit="KiB", values=values))
    return samples


def _unmount_below(folder: Path) -> None:
    mounted = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for target in reversed(mounted):
        if Path(target).is_relative_to(folder):
            syscalls.unmount_all(target)


async def run(state: Path) -> bool:
    """Measure on the file system of `state`, and publish."""
    folder = Path(tempfile.mkdtemp(prefix="disk-", dir=state))
    try:
        samples = await _measure(folder)
    finally:
        _unmount_below(folder)
        shutil.rmtree(folder)
    about = (
        "The two kinds of disk that a sandbox could have, on the same file system: a directory as the overlay's upper, "
        "and a sparse 10 GiB ext4 image (no journal, direct I/O) behind a loop device, made by `mkfs.ext4` or by "
        "copying the written parts of a template. Everything is written through the overlay, which is mounted "
        "`volatile` as for a sandbox. `rename` is what a snapshot costs. Memory is what the kernel holds after its "
        "caches were dropped."
    )
    return publish(Report(name="disk", title="Two kinds of disk", about=about, samples=tuple(samples)))
