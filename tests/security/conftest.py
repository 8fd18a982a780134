"""Real sandboxes by each runtime, which must leave nothing on the machine."""

import os
import secrets
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cloister.sandboxes.oci.image import OciImageStore
from cloister.sandboxes.oci.paths import paths_of

from ..system.conftest import installation, project, warm
from ..system.leftovers import wait_for_no_mounts
from .cells import Block, Cell, opened_block

__all__ = ["installation", "project", "warm"]


@pytest.fixture(params=["crun", "runc"])
def runtime(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if os.geteuid() != 0:
        pytest.skip("sandboxes need root here")
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    return name


@pytest.fixture
async def block(tmp_path: Path, images: OciImageStore, runtime: str) -> AsyncIterator[Block]:
    """A node of this runtime."""
    async with opened_block(tmp_path, images, prefix=f"s{secrets.token_hex(4)}", runtime=runtime) as opened:
        yield opened
    place = paths_of(tmp_path / "state").runtime
    assert await wait_for_no_mounts(place, tmp_path) == []
    assert not place.exists()


@pytest.fixture
async def cell(block: Block) -> Cell:
    """One sandbox of it."""
    return await block.cell()
