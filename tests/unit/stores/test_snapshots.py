"""What is remembered of kept disks."""

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest

from cloister.errors import StoreError
from cloister.model.snapshot import SnapshotKey, SnapshotRecord
from cloister.stores.database import Database
from cloister.stores.snapshots import SqlSnapshotCatalog

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def catalog(database: Database) -> SqlSnapshotCatalog:
    return SqlSnapshotCatalog(database)


def _record(key: str, *, hours: int = 0, environment: str = "web") -> SnapshotRecord:
    return SnapshotRecord(
        key=SnapshotKey(key),
        environment=environment,
        repository="/srv/project",
        commit="a" * 40,
        parts={"image": "1", "setup script": "2"},
        created_at=NOON + timedelta(hours=hours),
        expires_at=NOON + timedelta(hours=hours + 12),
    )


async def test_what_was_never_added_is_not_found(catalog: SqlSnapshotCatalog) -> None:
    assert await catalog.find(SnapshotKey("k")) is None
    assert await catalog.find_newest("web", "/srv/project") is None
    await catalog.remove(SnapshotKey("k"))


async def test_a_naive_time_is_refused(catalog: SqlSnapshotCatalog) -> None:
    with pytest.raises(StoreError, match="naive"):
        await catalog.add(dataclasses.replace(_record("k"), created_at=NOON.replace(tzinfo=None)))


async def test_a_record_comes_back_and_is_replaced_by_its_key(catalog: SqlSnapshotCatalog) -> None:
    await catalog.add(_record("k"))
    await catalog.add(_record("k", hours=1))
    assert await catalog.find(SnapshotKey("k")) == _record("k", hours=1)
    assert await catalog.list() == [_record("k", hours=1)]


async def test_the_newest_of_its_pair_is_found_and_the_list_is_newest_first(catalog: SqlSnapshotCatalog) -> None:
    for record in (_record("b", hours=1), _record("c", hours=2), _record("a"), _record("d", hours=3, environment="x")):
        await catalog.add(record)
    assert await catalog.find_newest("web", "/srv/project") == _record("c", hours=2)
    assert [record.key for record in await catalog.list()] == ["d", "c", "b", "a"]
    await catalog.remove(SnapshotKey("c"))
    assert await catalog.find_newest("web", "/srv/project") == _record("b", hours=1)
