"""One sandbox backend at a time: the scripted one, or the real one with the real image."""

import subprocess
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from cloister.model.sandbox import Commit
from cloister.protocols import SandboxBackend
from cloister.sandboxes.fake import FakeBackend, FakeNode
from cloister.sandboxes.fake_images import FakeImageStore
from cloister.sandboxes.oci.backend import open_backend
from cloister.sandboxes.oci.image import OciImageStore
from cloister.sandboxes.oci.paths import paths_of

from ..system.leftovers import wait_for_no_mounts
from .rig import Rig


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Commit]:
    place = tmp_path_factory.mktemp("repository")
    tree, mirror = place / "tree", place / "shop.git"
    tree.mkdir()
    (tree / "README").write_text("hello\n")
    (tree / "run").write_text("#!/bin/sh\necho ran\n")
    (tree / "run").chmod(0o755)
    (tree / ".gitignore").write_text("ignored\n")
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.com", "-C", str(tree)]
    for arguments in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-qm", "First"]):
        subprocess.run([*git, *arguments], check=True)
    subprocess.run(["git", "clone", "-q", "--mirror", str(tree), str(mirror)], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    return mirror, Commit(head.stdout.strip())


@pytest.fixture
async def fake_rig(repository: tuple[Path, Commit]) -> AsyncIterator[Rig]:
    node = FakeNode()
    faults: dict[str, Exception] = {}

    async def on_call(sandbox: str, call: str) -> None:
        if call in faults:
            raise faults.pop(call)

    @asynccontextmanager
    async def opener() -> AsyncIterator[FakeBackend]:
        yield FakeBackend(node, on_call=on_call)

    image = await FakeImageStore(node).ensure("base")
    async with Rig.opened(opener, image, repository) as rig:
        rig.fake, rig.faults = node, faults
        yield rig


@pytest.fixture
async def oci_rig(repository: tuple[Path, Commit], images: OciImageStore, tmp_path: Path) -> AsyncIterator[Rig]:
    def opener() -> AbstractAsyncContextManager[SandboxBackend]:
        return open_backend(tmp_path / "state", images)

    async with Rig.opened(opener, await images.ensure("base"), repository) as rig:
        yield rig
    assert not paths_of(tmp_path / "state").runtime.exists(), "the directory on tmpfs was left"
    assert await wait_for_no_mounts(tmp_path) == []


@pytest.fixture(params=["fake", "oci"])
def rig(request: pytest.FixtureRequest) -> Rig:
    rig = request.getfixturevalue(f"{request.param}_rig")
    assert isinstance(rig, Rig)
    return rig
