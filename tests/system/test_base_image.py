"""The real image `base`: what it holds, what it must not hold, and a real build that is cut off."""

import os
import subprocess
import tempfile
from pathlib import Path

import anyio
import pytest

from cloister.model.image import BuildProgress
from cloister.sandboxes.oci.image import OciImageStore

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="images of the node are root's")


@pytest.fixture
def root(images: OciImageStore) -> Path:
    return images.rootfs(anyio.run(images.ensure, "base"))


@pytest.mark.parametrize(
    "command",
    [
        "python3 --version",
        "python3 -c 'import venv, ensurepip, ssl, sqlite3'",
        "pip3 --version",
        "node --version",
        "npm --version",
        "git --version",
        "curl --version",
        "gcc --version",
        "make --version",
        "rg --version",
        "jq --version",
    ],
)
def test_a_promised_program_runs(root: Path, command: str) -> None:
    # Read-only: the image is shared with every other test.
    enter = 'mount --bind -o ro "$0" "$0" && mount --rbind /dev "$0"/dev && exec chroot "$0" /bin/bash -c "$1"'
    process = subprocess.run(
        ["unshare", "--mount", "/bin/sh", "-c", enter, root, command],
        capture_output=True,
        env={"HOME": "/tmp", "PATH": "/usr/sbin:/usr/bin"},
        check=False,
    )
    assert process.returncode == 0, process.stderr


def test_it_says_which_languages_it_has(images: OciImageStore) -> None:
    image = images.get(anyio.run(images.ensure, "base"))
    assert [(found.language, found.path) for found in image.toolchains] == [("python", ()), ("node", ())]
    assert set(image.package_managers) == {"pip", "npm"}
    assert image.toolchains[0].version == image.packages["python3"].split("-")[0]


def test_nothing_of_the_host_or_of_the_build_is_in_it(root: Path) -> None:
    assert not (root / "etc/resolv.conf").exists()
    assert not (root / "etc/hostname").exists()
    assert not list(root.glob("etc/ssh/ssh_host_*"))
    assert not [path for path in root.glob("var/lib/apt/lists/**/*") if path.is_file()]
    assert not [path for path in root.glob("var/cache/apt/**/*") if path.is_file()]
    assert (root / "etc/machine-id").read_bytes() == b""
    for empty in ("dev", "proc", "sys", "run", "tmp"):
        assert list((root / empty).iterdir()) == []


def test_every_owner_is_in_the_range_of_containers(root: Path) -> None:
    outside = ["find", root, "-uid", "-1000000000", "-o", "-uid", "+1000065535", "-o", "-gid", "-1000000000"]
    assert subprocess.run(outside, check=True, capture_output=True, text=True).stdout == ""


def test_programs_that_set_the_user_still_do(root: Path) -> None:
    assert (root / "usr/bin/passwd").stat().st_mode & 0o4000


def _temporary_files() -> set[Path]:
    return set(Path(tempfile.gettempdir()).glob("mmdebstrap*"))


async def test_a_real_build_that_is_cut_off_leaves_nothing(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    store = OciImageStore(tmp_path)
    temporary = _temporary_files()
    with anyio.CancelScope() as scope:

        def cancel_in_the_middle(progress: BuildProgress) -> None:
            if progress.stage.startswith("fetching"):
                scope.cancel()

        await store.build("base", cancel_in_the_middle)
    assert scope.cancelled_caught
    assert await store.list() == []
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["base"]  # the lock
    assert str(tmp_path) not in Path("/proc/self/mounts").read_text()
    assert _temporary_files() == temporary
