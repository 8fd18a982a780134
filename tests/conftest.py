"""What every suite shares."""

import dataclasses
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import anyio
import hypothesis
import pytest
from platformdirs import user_cache_path

from cloister.model.environment import Environment
from cloister.model.image import Image
from cloister.model.sandbox import Commit
from cloister.model.task import Repository, Revision, Task, TaskId
from cloister.sandboxes.oci.image import OciImageStore
from cloister.stores.database import Database

from .fresh_database import put_database

hypothesis.settings.register_profile("untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("untimed")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def images() -> OciImageStore:
    """The real store with the real image `base`, kept from one run of the tests to the next."""
    store = OciImageStore(Path(user_cache_path("cloister-tests")))
    _ensure_described(store, "base")
    return store


@pytest.fixture(scope="session")
def universal(images: OciImageStore) -> Image:
    """The real image `universal` in the store `images`. Building it takes some minutes."""
    return _ensure_described(images, "universal")


def _ensure_described(store: OciImageStore, name: str) -> Image:
    """Build the image when it is not there, or is older than what images tell of themselves."""
    image = store.get(anyio.run(store.ensure, name))
    return image if image.toolchains else anyio.run(store.build, name)


class NewTask(Protocol):
    def __call__(self, id: str = "t1", **changes: Any) -> Task: ...


@pytest.fixture
def new_task() -> NewTask:
    """Makes tasks that ask for nothing in particular."""

    def make(id: str = "t1", **changes: Any) -> Task:
        task = Task(
            id=TaskId(id),
            repository=Repository(address="/srv/project", directory="project"),
            revision=Revision(
                ref="main", commit=Commit("a" * 40), default_branch="main", default_commit=Commit("a" * 40)
            ),
            environment=Environment(name="web"),
            prompt="fix the test",
            agent="command",
            command="true",
            accepted_at=datetime.now(UTC),
        )
        return dataclasses.replace(task, **changes)

    return make


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    """A new database in `tmp_path / "cloister.db"`."""
    put_database(tmp_path / "cloister.db")
    async with Database.open(tmp_path / "cloister.db") as opened:
        yield opened
