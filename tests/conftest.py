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
from cloister.model.sandbox import Commit
from cloister.model.task import Repository, Revision, Task, TaskId
from cloister.sandboxes.oci.image import OciImageStore
from cloister.stores.database import Database

hypothesis.settings.register_profile("untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("untimed")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def images() -> OciImageStore:
    """The real store with the real image `base`, kept from one run of the tests to the next."""
    store = OciImageStore(Path(user_cache_path("cloister-tests")))
    anyio.run(store.ensure, "base")
    return store


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
    async with Database.open(tmp_path / "cloister.db") as opened:
        yield opened
