"""What every `EnvironmentStore` promises."""

from datetime import UTC, datetime, timedelta

import anyio
import pytest

from cloister.errors import ConflictError
from cloister.model.stored_environment import StoredEnvironment
from cloister.protocols import EnvironmentStore
from cloister.stores.database import Database
from cloister.stores.environments import SqlEnvironmentStore
from cloister.stores.fake import FakeEnvironmentStore

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture(params=["sql", "fake"])
def store(request: pytest.FixtureRequest, database: Database) -> EnvironmentStore:
    return SqlEnvironmentStore(database) if request.param == "sql" else FakeEnvironmentStore()


async def _add(store: EnvironmentStore, text: str, after: int | None, *, name: str = "web") -> StoredEnvironment:
    at = NOON + timedelta(minutes=after or 0)
    return await store.add(name, text, origin="web.toml", created_at=at, after=after)


async def _texts(store: EnvironmentStore, name: str = "web") -> list[tuple[int, str]]:
    return [(stored.version, stored.text) for stored in await store.versions(name)]


async def test_what_was_never_stored_is_not_found(store: EnvironmentStore) -> None:
    assert (await store.find("web"), await store.find("web", 1)) == (None, None)
    assert (await store.list(), await store.versions("web")) == ([], [])
    assert not await store.delete("web", deleted_at=NOON)


@pytest.mark.parametrize(
    ("after", "message"),
    [(None, "'web' already, in version 2"), (1, "version 2 of 2026-01-01 12:01:00 UTC"), (3, "version 2 of ")],
)
async def test_who_knows_another_newest_version_stores_nothing(
    store: EnvironmentStore, after: int | None, message: str
) -> None:
    await _add(store, "one", None)
    await _add(store, "two", 1)
    with pytest.raises(ConflictError, match=message):
        await _add(store, "mine", after)
    assert await _texts(store) == [(2, "two"), (1, "one")]


async def test_what_is_not_stored_has_no_next_version(store: EnvironmentStore) -> None:
    with pytest.raises(ConflictError, match="deleted meanwhile"):
        await _add(store, "mine", 1)
    assert await store.versions("web") == []


async def test_every_version_comes_back_as_it_was(store: EnvironmentStore) -> None:
    text = "# ä \N{SNOWMAN}\r\nimage = 'base'\n"
    first = await _add(store, text, None)
    second = await _add(store, "two", 1)
    assert (first.version, first.text, first.origin, first.created_at) == (1, text, "web.toml", NOON)
    assert (await store.find("web"), await store.find("web", 1)) == (second, first)
    assert (await store.find("web", 3), await store.find("web", 0)) == (None, None)
    assert await store.versions("web") == [second, first]


async def test_the_list_has_the_newest_of_each_by_name(store: EnvironmentStore) -> None:
    for name, text, after in (("web", "one", None), ("api", "first", None), ("web", "two", 1), ("old", "x", None)):
        await _add(store, text, after, name=name)
    await store.delete("old", deleted_at=NOON)
    assert [(stored.name, stored.text) for stored in await store.list()] == [("api", "first"), ("web", "two")]


async def test_a_deleted_name_is_free_its_versions_stay_and_the_count_goes_on(store: EnvironmentStore) -> None:
    await _add(store, "one", None)
    await _add(store, "two", 1)
    assert await store.delete("web", deleted_at=NOON)
    assert not await store.delete("web", deleted_at=NOON + timedelta(hours=1))
    assert (await store.find("web"), await store.list()) == (None, [])
    assert [stored.deleted_at for stored in await store.versions("web")] == [NOON, None]
    with pytest.raises(ConflictError, match="deleted meanwhile"):
        await _add(store, "mine", 2)
    again = await _add(store, "three", None)
    assert again.version == 3
    assert await store.find("web") == again
    old = await store.find("web", 2)
    assert old is not None and (old.text, old.deleted_at) == ("two", NOON)


async def test_of_many_who_change_the_same_version_one_succeeds(store: EnvironmentStore) -> None:
    await _add(store, "one", None)
    refused = []

    async def change(text: str) -> None:
        try:
            await _add(store, text, 1)
        except ConflictError as error:
            refused.append(error)

    async with anyio.create_task_group() as group:
        for number in range(5):
            group.start_soon(change, str(number))
    assert len(refused) == 4
    assert [version for version, _ in await _texts(store)] == [2, 1]
