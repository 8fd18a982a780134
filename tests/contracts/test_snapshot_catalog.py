"""What every `SnapshotCatalog` promises."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from cloister.model.snapshot import SnapshotKey, SnapshotRecord
from cloister.protocols import SnapshotCatalog
from cloister.stores.database import Database
from cloister.stores.fake_snapshots import FakeSnapshotCatalog
from cloister.stores.snapshots import SqlSnapshotCatalog

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture(params=["sql", "fake"])
def catalog(request: pytest.FixtureRequest, database: Database) -> SnapshotCatalog:
    return SqlSnapshotCatalog(database) if request.param == "sql" else FakeSnapshotCatalog()


def _record(key: str, *, hours: int = 0, environment: str = "web") -> SnapshotRecord:
    return SnapshotRecord(
        key=SnapshotKey(key),
        environment=environment,
        repository="/srv/project",
        commit="a" * 40,
        parts={"image": "1", "setup script": "2"},
        created_at=NOON + timedelta(hours=hours),
        expires_at=NOON + timedelta(hours=hours + 12),
        path=("/venv/bin", "/opt/node/bin"),
        variables={"VIRTUAL_ENV": "/venv"},
    )


async def test_what_was_never_added_is_not_found(catalog: SnapshotCatalog) -> None:
    assert await catalog.find(SnapshotKey("k")) is None
    assert await catalog.find_newest("web", "/srv/project") is None
    await catalog.remove(SnapshotKey("k"))
    await catalog.mark_used({SnapshotKey("k")}, NOON)
    await catalog.set_size(SnapshotKey("k"), 1)
    assert await catalog.list() == []


async def test_a_record_comes_back_and_is_replaced_by_its_key(catalog: SnapshotCatalog) -> None:
    await catalog.add(_record("k"))
    await catalog.add(_record("k", hours=1))
    assert await catalog.find(SnapshotKey("k")) == _record("k", hours=1)
    assert await catalog.list() == [_record("k", hours=1)]


async def test_the_newest_of_its_pair_is_found_and_the_list_is_newest_first(catalog: SnapshotCatalog) -> None:
    for record in (_record("b", hours=1), _record("c", hours=2), _record("a"), _record("d", hours=3, environment="x")):
        await catalog.add(record)
    assert await catalog.find_newest("web", "/srv/project") == _record("c", hours=2)
    assert [record.key for record in await catalog.list()] == ["d", "c", "b", "a"]
    await catalog.remove(SnapshotKey("c"))
    assert await catalog.find_newest("web", "/srv/project") == _record("b", hours=1)


async def test_use_and_size_are_remembered_of_the_right_ones(catalog: SnapshotCatalog) -> None:
    for key in "abc":
        await catalog.add(_record(key))
    await catalog.mark_used({SnapshotKey("a"), SnapshotKey("b")}, NOON + timedelta(hours=3))
    await catalog.set_size(SnapshotKey("b"), 5 * 2**40)
    used = NOON + timedelta(hours=3)
    assert await catalog.find(SnapshotKey("a")) == replace(_record("a"), last_used_at=used)
    assert await catalog.find(SnapshotKey("b")) == replace(_record("b"), last_used_at=used, size_bytes=5 * 2**40)
    assert await catalog.find(SnapshotKey("c")) == _record("c")


async def test_a_refs_own_is_found_for_that_ref_alone(catalog: SnapshotCatalog) -> None:
    own = replace(_record("own", hours=1), ref="feature", below=SnapshotKey("shared"))
    await catalog.add(_record("shared"))
    await catalog.add(own)
    assert await catalog.find_newest("web", "/srv/project") == _record("shared")
    assert await catalog.find_newest("web", "/srv/project", ref="feature") == own
    assert await catalog.find_newest("web", "/srv/project", ref="other") is None
    assert await catalog.find(SnapshotKey("own")) == own


async def test_the_final_disk_of_an_attempt_is_found_by_its_key_alone(catalog: SnapshotCatalog) -> None:
    final = replace(_record("final", hours=1), attempt="t1-1-1", below=SnapshotKey("shared"))
    await catalog.add(final)
    assert await catalog.find_newest("web", "/srv/project") is None
    await catalog.add(_record("shared"))
    assert await catalog.find_newest("web", "/srv/project") == _record("shared")
    assert await catalog.find(SnapshotKey("final")) == final
    assert await catalog.list() == [final, _record("shared")]
