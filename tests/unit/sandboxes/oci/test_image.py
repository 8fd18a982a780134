"""The store's promises under faults, with a program in mmdebstrap's place that fails as told."""

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from cloister.errors import ConflictError, DiskFullError, HostError, NotFoundError, SandboxError
from cloister.model.image import BuildProgress
from cloister.model.sandbox import ImageDigest
from cloister.sandboxes.oci.image import OciImageStore

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of other owners")

MAKE_TREE = """
for argument; do case $argument in */rootfs) root=$argument ;; esac; done
mkdir -p "$root"/etc "$root"/var/lib/dpkg "$root"/usr/bin "$root"/tmp
printf 'Package: tiny\\nStatus: install ok installed\\nVersion: 1.0\\n' >"$root"/var/lib/dpkg/status
printf 'program' >"$root"/usr/bin/su && chmod 4755 "$root"/usr/bin/su
touch "$root"/tmp/left-over
"""

ENSURE = """
import sys, anyio
from pathlib import Path
from cloister.sandboxes.oci.image import OciImageStore
store = OciImageStore(Path(sys.argv[1]), recipes=Path(sys.argv[2]))
print(anyio.run(store.ensure, "tiny"))
"""


class Site:
    """A store, its recipes, and a program that stands for mmdebstrap."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.recipes = folder / "recipes"
        self.programs = folder / "bin"
        for path in (self.recipes, self.programs):
            path.mkdir()
        (self.recipes / "tiny.toml").write_text("packages = ['tiny']")
        self.store = OciImageStore(self.state, recipes=self.recipes)

    def build_with(self, script: str) -> None:
        program = self.programs / "mmdebstrap"
        program.write_text(f"#!/bin/bash\n{script}\n")
        program.chmod(0o755)

    def left(self) -> list[str]:
        """What a build left that is not a lock: folders of trees and names."""
        found = (path.relative_to(self.state / "images") for path in (self.state / "images").glob("*/*"))
        return sorted(str(path) for path in found if path.parts[0] != "locks")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    site = Site(tmp_path)
    monkeypatch.setenv("PATH", f"{site.programs}:{os.environ['PATH']}")
    return site


async def test_an_unknown_image_is_refused_and_nothing_is_made(site: Site) -> None:
    with pytest.raises(NotFoundError) as caught:
        await site.store.ensure("huge")
    assert caught.value.hint == "known images: tiny"
    assert not site.state.exists()


async def test_a_missing_builder_points_to_doctor(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(site.programs))
    with pytest.raises(HostError, match="mmdebstrap is not installed") as caught:
        await site.store.ensure("tiny")
    assert "cloister doctor" in str(caught.value.hint)
    assert site.left() == []


async def test_a_failed_build_shows_its_last_words_and_leaves_nothing(site: Site) -> None:
    site.build_with(MAKE_TREE + "echo 'I: fine'; echo 'E: Unable to locate package tiny' >&2; exit 100")
    with pytest.raises(SandboxError, match="E: Unable to locate package tiny"):
        await site.store.ensure("tiny")
    assert site.left() == []
    assert await site.store.list() == []


async def test_output_that_is_not_text_and_has_no_end_of_line_does_no_harm(site: Site) -> None:
    site.build_with("head -c 1000000 /dev/zero | tr '\\0' '\\377'; exit 1")
    with pytest.raises(SandboxError, match="failed") as caught:
        await site.store.ensure("tiny")
    assert len(str(caught.value)) < 100_000


async def test_a_builder_that_makes_no_tree_is_our_error(site: Site) -> None:
    site.build_with("exit 0")
    with pytest.raises(SandboxError, match="tiny"):
        await site.store.ensure("tiny")
    assert site.left() == []


@pytest.fixture
def small_disk(site: Site) -> Iterator[Path]:
    """A file system of 2 MiB at the store's state directory."""
    site.state.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", site.state], check=True)
    yield site.state
    subprocess.run(["umount", site.state], check=True)


@pytest.mark.usefixtures("small_disk")
async def test_a_disk_that_fills_up_in_the_build_is_told_and_left_clean(site: Site) -> None:
    site.build_with(MAKE_TREE + 'head -c 4000000 /dev/zero >"$root"/usr/bin/large || exit 1')
    with pytest.raises(DiskFullError):
        await site.store.ensure("tiny")
    assert site.left() == []


@pytest.mark.usefixtures("small_disk")
async def test_a_disk_that_fills_up_in_sealing_is_told_and_left_clean(site: Site) -> None:
    site.build_with(MAKE_TREE + 'cat /dev/zero >"$root"/usr/bin/large 2>/dev/null; exit 0')
    with pytest.raises(DiskFullError):
        await site.store.ensure("tiny")
    assert site.left() == []


def _endless_build(pipe: Path) -> str:
    # Two processes, one of them in a session of its own, hold the pipe open for as long as they live.
    return (
        MAKE_TREE
        + f"exec 9>{pipe}; setsid sleep infinity & echo alive >&9; echo 'I: running apt-get update...'; sleep infinity"
    )


async def _wait_for_a_word(pipe: int) -> None:
    with anyio.fail_after(30):
        await anyio.wait_readable(pipe)
    assert os.read(pipe, 1024) == b"alive\n"


async def _wait_until_no_writer_lives(pipe: int) -> None:
    """A pipe ends when the last process that holds it is dead."""
    with anyio.fail_after(30):
        await anyio.wait_readable(pipe)
    assert os.read(pipe, 1024) == b""


@pytest.fixture
def pipe(site: Site) -> Iterator[tuple[Path, int]]:
    path = site.folder / "alive"
    os.mkfifo(path)
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    yield path, descriptor
    os.close(descriptor)


async def test_a_cancelled_build_is_dead_and_gone_when_it_returns(site: Site, pipe: tuple[Path, int]) -> None:
    site.build_with(_endless_build(pipe[0]))
    with anyio.CancelScope() as scope:

        def cancel(_: BuildProgress) -> None:
            scope.cancel()

        await site.store.ensure("tiny", cancel)
    assert scope.cancelled_caught
    assert os.read(pipe[1], 1024) == b"alive\n"
    assert os.read(pipe[1], 1024) == b""
    assert site.left() == []
    site.build_with(MAKE_TREE)
    assert await site.store.ensure("tiny")


async def test_a_build_dies_with_its_process_and_the_next_one_sweeps_up(site: Site, pipe: tuple[Path, int]) -> None:
    site.build_with(_endless_build(pipe[0]))
    builder = await anyio.open_process([sys.executable, "-c", ENSURE, str(site.state), str(site.recipes)])
    async with builder:
        await _wait_for_a_word(pipe[1])
        builder.send_signal(signal.SIGKILL)
        await builder.wait()
    await _wait_until_no_writer_lives(pipe[1])
    assert site.left() == ["building/tiny"]
    assert await site.store.list() == []
    site.build_with(MAKE_TREE)
    digest = await site.store.ensure("tiny")
    assert site.left() == [f"{digest}/image.json", f"{digest}/rootfs", "names/tiny"]


async def test_ten_callers_and_three_processes_build_once(site: Site) -> None:
    site.build_with(f"echo built >>{site.folder}/builds; {MAKE_TREE}")
    digests: set[str] = set()

    async def here() -> None:
        digests.add(await site.store.ensure("tiny"))

    async def elsewhere() -> None:
        process = await anyio.run_process([sys.executable, "-c", ENSURE, str(site.state), str(site.recipes)])
        digests.add(process.stdout.decode().strip())

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(elsewhere)
        for _ in range(10):
            group.start_soon(here)
    assert len(digests) == 1
    assert (site.folder / "builds").read_text() == "built\n"


async def test_an_image_is_whole_shifted_and_describes_itself(site: Site) -> None:
    site.build_with(MAKE_TREE)
    fractions: list[float] = []
    image = await site.store.build("tiny", lambda progress: fractions.append(progress.fraction))
    root = site.store.rootfs(image.digest)
    program = (root / "usr/bin/su").stat()
    assert (program.st_uid, stat.S_IMODE(program.st_mode)) == (1_000_000_000, 0o4755)
    assert list((root / "tmp").iterdir()) == []
    assert json.loads((root / "etc/cloister/image.json").read_text()) == {
        "name": "tiny",
        "packages": {"tiny": "1.0"},
        "toolchains": [],
        "package_managers": {},
    }
    assert await site.store.list() == [image]
    assert image.packages == {"tiny": "1.0"}
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0


async def test_building_the_same_again_keeps_the_image(site: Site) -> None:
    site.build_with(MAKE_TREE)
    first = await site.store.build("tiny")
    assert await site.store.build("tiny") == first
    assert len(await site.store.list()) == 1


async def test_building_something_new_moves_the_name_and_keeps_the_old_digest(site: Site) -> None:
    site.build_with(MAKE_TREE)
    first = await site.store.build("tiny")
    site.build_with(MAKE_TREE + 'touch "$root"/usr/bin/new')
    second = await site.store.build("tiny")
    assert first.digest != second.digest
    assert await site.store.ensure("tiny") == second.digest
    assert site.store.rootfs(first.digest).is_dir()
    assert [image.digest for image in await site.store.list()] == [second.digest, first.digest]


def test_what_is_not_whole_cannot_be_started(site: Site) -> None:
    digest = ImageDigest("a" * 64)
    with pytest.raises(NotFoundError):
        site.store.rootfs(digest)
    (site.state / "images" / digest / "rootfs").mkdir(parents=True)
    with pytest.raises(NotFoundError):
        site.store.rootfs(digest)


async def test_an_image_in_use_is_not_removed(site: Site) -> None:
    site.build_with(MAKE_TREE)
    digest = await site.store.ensure("tiny")
    with pytest.raises(ConflictError, match="in use"):
        await site.store.remove("tiny", in_use=lambda image: image == digest)
    assert site.store.rootfs(digest).is_dir()


@pytest.mark.parametrize("name", ["base", "zzzz", "../names", ".", ""])
async def test_an_image_that_is_not_there_is_not_removed(site: Site, name: str) -> None:
    site.build_with(MAKE_TREE)
    digest = await site.store.ensure("tiny")
    with pytest.raises(NotFoundError):
        await site.store.remove(name, in_use=lambda _: False)
    assert site.store.rootfs(digest).is_dir()


@pytest.mark.parametrize("by", ["name", "digest", "beginning of the digest"])
async def test_a_removed_image_is_gone_with_its_name(site: Site, by: str) -> None:
    site.build_with(MAKE_TREE)
    digest = await site.store.ensure("tiny")
    given = {"name": "tiny", "digest": digest, "beginning of the digest": digest[:8]}[by]
    await site.store.remove(given, in_use=lambda _: False)
    assert site.left() == []
    with pytest.raises(NotFoundError):
        site.store.rootfs(digest)
