"""S3: a disk that a hostile setup script wrote. What starts on it works, or is refused; the host is never touched.

CVE-2019-19921, CVE-2021-30465, CVE-2025-31133, CVE-2025-52565 and CVE-2025-52881 began with a mount point that was
something else.
"""

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cloister.errors import CloisterError, TaskFailedError
from cloister.model.sandbox import Checkout, Commit
from cloister.model.snapshot import SnapshotKey
from cloister.model.task import Verdict
from cloister.sandboxes.oci.bundle import UID_BASE
from cloister.sandboxes.oci.guard import Guard

from ..system.installation import QUIET, Installation
from ..system.project import Project
from .cells import Block, Cell

KEY = SnapshotKey("e" * 64)
GOLDEN = json.loads(Path(__file__).with_name("isolation.json").read_text())

MOUNT_POINTS = ["dev", "proc", "sys", "run", "tmp", "etc", "workspace", "cloister"]
INSIDE_THEM = [
    *("dev/null", "dev/pts", "dev/shm", "dev/mqueue", "dev/console"),
    *("etc/resolv.conf", "etc/hosts", "etc/hostname", "etc/ssl"),
    *("cloister/in", "cloister/init", "cloister/out", "cloister/mirror.git"),
    *("cloister/git", "cloister/tool", "cloister/exchange"),
    *("sys/fs", "proc/self", "proc/sys", "run/secrets", "workspace/.git"),
]

Make = Callable[[Path, Path], None]
"""Puts something hostile at the first path; the second is a directory of the host with a canary in it."""


def _hard_link(path: Path, host: Path) -> None:
    other = path.with_name("linked")
    other.touch()
    path.hardlink_to(other)


def _directory_with_opaque_mark(path: Path, host: Path) -> None:
    path.mkdir()
    os.setxattr(path, "trusted.overlay.opaque", b"y")


def _directory_with_redirect(path: Path, host: Path) -> None:
    path.mkdir()
    os.setxattr(path, "trusted.overlay.redirect", os.fsencode(host))


def _file_that_is_a_metacopy(path: Path, host: Path) -> None:
    path.touch()
    os.setxattr(path, "trusted.overlay.metacopy", b"")
    os.setxattr(path, "trusted.overlay.redirect", os.fsencode(host / "canary"))


KINDS: dict[str, Make] = {
    "absolute symlink": lambda path, host: path.symlink_to(host),
    "relative symlink": lambda path, host: path.symlink_to("../" * 30 + str(host).lstrip("/")),
    "symlink to proc": lambda path, host: path.symlink_to("/proc/self/root"),
    "fifo": lambda path, host: os.mkfifo(path),
    "file": lambda path, host: path.write_text("x"),
    "hard link": _hard_link,
    "device": lambda path, host: os.mknod(path, 0o20666, os.makedev(1, 5)),
    "whiteout": lambda path, host: os.mknod(path, 0o20666, os.makedev(0, 0)),
    "opaque directory": _directory_with_opaque_mark,
    "metacopy": _file_that_is_a_metacopy,
}
TELLING = ["absolute symlink", "symlink to proc", "fifo", "device"]
"""Those that a runtime stumbles over where the guard does not hide them."""


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A directory that nothing of the sandbox may read or write."""
    place = tmp_path / "host"
    place.mkdir(mode=0o777)
    (place / "canary").write_text("canary-of-the-host")
    (place / "canary").chmod(0o666)
    return place


@pytest.fixture
def checkout(block: Block, project: Project) -> Checkout:
    project.git("push", "--quiet", str(block.mirror), "main")
    return Checkout(commit=Commit(project.git("rev-parse", "HEAD").strip()), branch="main", origin="/x")


async def _hostile_cell(block: Block, checkout: Checkout, make: Make, places: list[str], host: Path) -> Cell:
    """A sandbox whose disk has this in its written layer, as if its setup had managed to put it there."""
    cell = await block.cell()
    await cell.sandbox.checkout(checkout)
    await cell.sh("true")
    cell.sandbox.unmount()
    upper = cell.sandbox._disk.upper
    for place in places:
        target = upper / place
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_dir() and not target.is_symlink():
            target.rename(upper / f"former-{place.replace('/', '-')}")
        make(target, host)
        os.chown(target, UID_BASE, UID_BASE, follow_symlinks=False)
    cell.sandbox.mount()
    return cell


async def _look(cell: Cell) -> dict[str, Any]:
    """What the probe of S1 sees, and whether the host's canary can be read."""
    seen: dict[str, Any] = json.loads((await cell.probe("isolation.py")).stdout)
    readable = await cell.sh(
        "timeout 20 grep -rs --devices=skip canary-of-the /etc /run /tmp /cloister /workspace /sys"
    )
    found = {name: seen[name] for name in ("revealed", "writable", "devices", "sys", "hostname")}
    return {**found, "mounts": sorted(seen["mounts"]), "canary": readable.stdout}


def _expected() -> dict[str, Any]:
    found = {name: GOLDEN[name] for name in ("revealed", "writable", "devices", "sys", "hostname")}
    return {**found, "mounts": sorted(GOLDEN["mounts"]), "canary": ""}


@pytest.mark.parametrize("places", [MOUNT_POINTS, INSIDE_THEM], ids=["mount points", "inside them"])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_snapshot_with_hostile_mount_points_makes_a_working_sandbox(
    block: Block, checkout: Checkout, host: Path, kind: str, places: list[str]
) -> None:
    first = await _hostile_cell(block, checkout, KINDS[kind], places, host)
    await first.sandbox.checkout(checkout)
    await first.sandbox.snapshot(KEY)
    cell = await block.cell(snapshot=KEY)
    await cell.sandbox.checkout(checkout)
    assert await _look(cell) == _expected()
    await cell.sh("echo two >/workspace/project/a.txt; echo answer >/cloister/out/message.md")
    assert (await cell.sandbox.changes(checkout.commit)).stats.files == 1
    assert await cell.sandbox.read_file("/cloister/out/message.md", limit_bytes=100) == b"answer\n"
    _check_untouched(host)


async def test_a_layer_that_points_elsewhere_is_not_followed(block: Block, checkout: Checkout, host: Path) -> None:
    """`redirect_dir=nofollow`: the kernel refuses the whole path. No sandbox can write such a mark itself."""
    cell = await _hostile_cell(block, checkout, _directory_with_redirect, ["srv"], host)
    assert (await cell.sh("ls /srv")).stderr == "ls: cannot access '/srv': Operation not permitted\n"
    assert (await cell.sh("mkdir /x; setfattr -n trusted.overlay.redirect -v /srv /x")).exit.status != 0
    _check_untouched(host)


@pytest.mark.parametrize("kind", TELLING)
async def test_without_the_guard_the_probe_notices(block: Block, checkout: Checkout, host: Path, kind: str) -> None:
    """The twin: the same disk, mounted without the layer that lies above it."""
    cell = await _hostile_cell(block, checkout, KINDS[kind], MOUNT_POINTS, host)
    await cell.sandbox.checkout(checkout)
    await cell.sandbox.snapshot(KEY)
    _take_the_guard_away(block)
    unguarded = await block.cell(snapshot=KEY)
    try:
        seen = await _look(unguarded)
    except (CloisterError, ValueError):
        seen = {}
    assert seen != _expected()


@pytest.mark.parametrize("places", [MOUNT_POINTS, INSIDE_THEM], ids=["mount points", "inside them"])
@pytest.mark.parametrize("kind", TELLING)
async def test_a_disk_that_is_not_kept_is_refused_or_works(
    block: Block, checkout: Checkout, host: Path, kind: str, places: list[str]
) -> None:
    """The hostile layer is the one that is written to, so the guard lies below it."""
    cell = await _hostile_cell(block, checkout, KINDS[kind], places, host)
    try:
        assert await _look(cell) == _expected()
    except TaskFailedError as refusal:
        assert "was replaced in the sandbox" in str(refusal)
    _check_untouched(host)


SETUPS = {
    "etc": "mv /etc /etc-before; ln -s /proc/1/root/etc /etc",
    "workspace": "cd /; mv /workspace /w; ln -s /proc/self/root /workspace; mkdir -p /proc/self/root/project",
    "cloister": "mv /cloister /c; ln -s /proc/self/root/host /cloister; mkdir -p /host/out",
    "resolver": "mv /etc/resolv.conf /r; ln -s /proc/1/environ /etc/resolv.conf; mkfifo /etc/h; mv /etc/h /etc/hosts",
    "authorities": "rm -rf /etc/ssl; ln -s /tmp /etc/ssl",
    "devices": "mknod /etc/mem c 1 1; mknod /white c 0 0; rm -f /dev/null; ln -s /dev/zero /dev/null; rm -rf /run /tmp",
    "loader": "echo /x.so >/etc/ld.so.preload; chmod 0 /workspace /root; rm -rf /cloister/out; ln -s / /cloister/out",
}


@pytest.mark.parametrize("name", SETUPS)
async def test_a_hostile_setup_ends_with_a_verdict(
    installation: Installation, host: Path, runtime: str, name: str
) -> None:
    """What container root really can do: the first attempt, and one from the snapshot if it made one."""
    environment = QUIET.replace("automatic = false", f"automatic = false\nscript = '''\n{SETUPS[name]}; true\n'''")
    async with installation.opened(settings={"runtime": runtime}) as running:
        for _ in range(2):
            finished = await running.run("cat /etc/hostname; echo two >a.txt", environment=environment)
            outcome = finished.outcome
            assert outcome.verdict in (Verdict.SUCCEEDED, Verdict.FAILED), outcome
            if outcome.verdict is Verdict.SUCCEEDED:
                assert finished.printed("agent") == "cloister\n"
                assert "+two" in finished.diff
    _check_untouched(host)


def _check_untouched(host: Path) -> None:
    assert (host / "canary").read_text() == "canary-of-the-host"
    assert sorted(path.name for path in host.iterdir()) == ["canary"]


def _take_the_guard_away(block: Block) -> None:
    empty = block.state / "no-guard"
    empty.mkdir()
    node = block.backend._node
    block.backend._node = dataclasses.replace(node, guard=Guard(layer=empty, sysfs=node.guard.sysfs))
