"""An installation of its own for each test, which must leave nothing on the machine."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from platformdirs import user_cache_path

from cloister.sandboxes.oci.image import OciImageStore

from .installation import Installation
from .leftovers import adopt_orphans, clear_leftovers, descendants, wait_for_none
from .project import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """One commit on `main`: `a.txt`, which says "one"."""
    return Project.create(tmp_path / "project", {"a.txt": "one\n"})


@pytest.fixture
def installation(tmp_path: Path, project: Project, images: OciImageStore) -> Iterator[Installation]:
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
    state.mkdir(mode=0o700)
    (state / "images").symlink_to(user_cache_path("cloister-tests") / "images")
    made = Installation(state, project)
    try:
        yield made
        left = wait_for_none(made, ours=ours)
        assert left.kinds() == set(), left
    finally:
        clear_leftovers(made, ours=ours)
        shutil.rmtree(made.paths.runtime, ignore_errors=True)
