"""Flatten: many layers merged into one, beside a copy of what they show."""

import os
import secrets
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from measure import Bar, Report, Samples, paired_ratio, publish, take_turns

from cloister.sandboxes.oci import syscalls
from cloister.sandboxes.oci.layer_merge import merge_layers
from cloister.sandboxes.oci.overlay import mount_overlay

ROUNDS = 3
LAYERS = 12
_FOLDERS = 20
_FILES = 100
_FILE_BYTES = 10_000
_OURS, _COPY = "cloister", "cp -a"


def make_layers(place: Path) -> list[Path]:
    """Write layers, topmost first: each has 2,000 files, a part of which is hidden by the next."""
    data = secrets.token_bytes(_FILE_BYTES)
    layers = []
    for number in range(LAYERS):
        layer = place / str(number)
        for folder in range(_FOLDERS):
            # Every second folder is in all layers, with files of the same names.
            into = layer / (f"shared{folder}" if folder % 2 else f"own{number}-{folder}")
            into.mkdir(parents=True)
            for file in range(_FILES):
                (into / f"{number // 2}-{file}").write_bytes(data)
        layers.append(layer)
    return layers[::-1]


def _new_bytes(tree: Path) -> int:
    """What the tree takes that nothing else has: folders, and files of one name."""
    found = [Path(folder, name).lstat() for folder, _, names in os.walk(tree) for name in (".", *names)]
    return sum(one.st_blocks * 512 for one in found if stat.S_ISDIR(one.st_mode) or one.st_nlink == 1)


class Sides:
    """Both, on the same layers; each says how many bytes it took."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._image = place / "image"
        self._image.mkdir()
        self._layers = make_layers(place / "layers")
        self.taken_bytes: dict[str, list[int]] = {_OURS: [], _COPY: []}

    def merge(self) -> Callable[[], Awaitable[float]]:
        """Return a probe of our merge, synced."""

        async def probe() -> float:
            return self._timed(_OURS, lambda target: merge_layers(self._layers, [self._image], target))

        return probe

    def copy(self) -> Callable[[], Awaitable[float]]:
        """Return a probe of `cp -a` of the mounted layers, synced."""

        def copy(target: Path) -> None:
            root = self._place / "root"
            root.mkdir(exist_ok=True)
            mount_overlay(root, lowers=[*self._layers, self._image])
            try:
                subprocess.run(["cp", "-a", "--", str(root), str(target)], check=True)
            finally:
                syscalls.unmount_all(str(root))

        async def probe() -> float:
            return self._timed(_COPY, copy)

        return probe

    def _timed(self, subject: str, make: Callable[[Path], None]) -> float:
        target = self._place / "target"
        _sync(self._place)
        begun = time.perf_counter()
        make(target)
        _sync(self._place)
        seconds = time.perf_counter() - begun
        self.taken_bytes[subject].append(_new_bytes(target))
        shutil.rmtree(target)
        return seconds


def _sync(place: Path) -> None:
    subprocess.run(["sync", "--file-system", str(place)], check=True)


async def run(state: Path) -> bool:
    """Measure and publish."""
    place = Path(tempfile.mkdtemp(prefix="flatten-", dir=state))
    try:
        sides = Sides(place)
        row = f"{LAYERS} layers"
        measured = await take_turns(row, {_OURS: sides.merge(), _COPY: sides.copy()}, rounds=ROUNDS)
    finally:
        shutil.rmtree(place)
    taken = [
        Samples(row=f"{row}, space", subject=name, values=tuple(count / 1e6 for count in counts[1:]), unit="MB")
        for name, counts in sides.taken_bytes.items()
    ]
    about = (
        f"{LAYERS} layers of {_FOLDERS * _FILES:,} files of {_FILE_BYTES // 1000} KB each, some of which hide others. "
        "They are merged into one, by links; beside it, they are mounted and what they show is copied by `cp -a`, "
        "which makes a tree and no layer. Both are synced. Then the space that it takes."
    )
    bars = (
        Bar(what="merge / cp -a, median of pairs", value=paired_ratio(*measured.values()), at_most=1.0),
        Bar(what="space, merge / cp -a", value=taken[0].p50 / taken[1].p50, at_most=0.2),
    )
    return publish(
        Report(name="flatten", title="Flattening", about=about, samples=(*measured.values(), *taken), bars=bars)
    )
