"""An installation of its own for each test, which must leave nothing on the machine."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from platformdirs import user_cache_path

from cloister.sandboxes.oci.image import OciImageStore

from ..fresh_database import put_database
from .installation import Installation
from .leftovers import adopt_orphans, clear_leftovers, descendants, wait_for_none
from .project import Project
from .warm import forking


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """One commit on `main`: `a.txt`, which says "one"."""
    return Project.create(tmp_path / "project", {"a.txt": "one\n"})


@pytest.fixture(scope="session")
def warm() -> Iterator[None]:
    """Have commands of installations start at once."""
    adopt_orphans()
    with forking():
        yield


@pytest.fixture
def installation(tmp_path: Path, project: Project, images: OciImageStore, warm: None) -> Iterator[Installation]:
    """A state directory with the image `base` in it."""
    with made_installation(tmp_path, project) as made:
        yield made


@contextmanager
def made_installation(place: Path, project: Project) -> Iterator[Installation]:
    """Make one whose images are those of the fixture `images`. Whatever was done in it, nothing may be left."""
    if os.geteuid() != 0:
        pytest.skip("sandboxes need root here")
    adopt_orphans()
    ours = frozenset(descendants())
    state = place / "state"
    put_database(state / "cloister.db")
    (state / "images").symlink_to(user_cache_path("cloister-tests") / "images")
    made = Installation(state, project)
    try:
        yield made
        left = wait_for_none(made, ours=ours)
        assert left.kinds() == set(), left
    finally:
        clear_leftovers(made, ours=ours)
        shutil.rmtree(made.paths.runtime, ignore_errors=True)
