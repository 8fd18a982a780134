"""What a hostile program of a registry's package can reach when it is asked for its version while an image is built."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from cloister.sandboxes.oci import image_inside
from cloister.sandboxes.oci.image import OciImageStore
from cloister.sandboxes.oci.image_inside import run_inside

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")

PROBES = {
    "write": "touch /opt/ours/left",
    # Not mount(8): in the tree of an image that is complete it belongs to another user.
    "mount": 'python3 -c \'import ctypes; exit(ctypes.CDLL(None).mount(b"t", b"/mnt", b"tmpfs", 0, None) != 0)\'',
    "device": "mknod /tmp/disk b 8 0",
    "chroot": "python3 -c 'import os; os.chroot(\"/tmp\")'",
    "kernel": "test -e /proc/sys/kernel || test -e /proc/sysrq-trigger",
    "setuid": "grep -q '^NoNewPrivs:.*0' /proc/self/status",
    "capabilities": "grep -q '^CapBnd:.*[1-9a-f]' /proc/self/status",
    "network": "python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", PORT), 1)'",
}

_OPEN = 'mount -t proc proc "$0/proc"; tree=$0; shift 2; exec chroot "$tree" "$@"'


@pytest.fixture
def root(tmp_path: Path, images: OciImageStore) -> Iterator[Path]:
    """The tree of `base` with a folder that belongs to root, as all of a tree does while it is built."""
    lower = images.rootfs(anyio.run(images.ensure, "base"))
    root, upper, work = (tmp_path / name for name in ("root", "upper", "work"))
    for folder in (root, upper, work):
        folder.mkdir()
    options = f"lowerdir={lower},upperdir={upper},workdir={work}"
    subprocess.run(["mount", "-t", "overlay", "-o", options, "overlay", str(root)], check=True)
    (root / "opt/ours").mkdir()
    yield root
    subprocess.run(["umount", str(root)], check=True)


async def _reached(root: Path, port: int, *, writable: bool = False) -> set[str]:
    script = "\n".join(
        f"if ( {probe.replace('PORT', str(port))} ) >/dev/null 2>&1; then echo {name}; fi"
        for name, probe in PROBES.items()
    )
    ended = await run_inside(root, ("/bin/sh", "-c", script), writable=writable)
    assert ended.status == 0, ended.lines
    return set(ended.lines)


async def test_it_reaches_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        assert await _reached(root, port) == set()
        assert not (root / "opt/ours/left").exists()
        assert await _reached(root, port, writable=True) == {"write"}, "what the distribution's pip may"

        monkeypatch.setattr(image_inside, "_POWERLESS", ())
        powers = {"mount", "device", "chroot", "setuid", "capabilities"}
        assert await _reached(root, port) == powers, "the twin with powers"
        monkeypatch.setattr(image_inside, "_NAMESPACES", ())
        monkeypatch.setattr(image_inside, "_ENTER", _OPEN)
        assert await _reached(root, port) >= set(PROBES), "the twin in the open"
