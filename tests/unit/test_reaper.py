from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import pytest

from cloister import reaper
from cloister.forges.fake import FakeForge, FakeRepository
from cloister.model.environment import Environment, Limits
from cloister.model.given import GivenFile
from cloister.model.sandbox import Commit, SandboxName, SandboxSpec
from cloister.model.snapshot import SnapshotKey, SnapshotRecord
from cloister.model.task import Outcome, Repository, Revision, Task, TaskId, Verdict
from cloister.queues.fake import FakeQueue
from cloister.reaper import (
    SnapshotReaper,
    destroy_strays,
    evict_snapshots,
    expire_snapshots,
    forget_given_to_nobody,
    forget_unknown_snapshots,
    forget_unused_bundles,
)
from cloister.sandboxes.fake import FakeBackend, FakeNode
from cloister.sandboxes.fake_images import FakeImageStore
from cloister.stores.fake_files import FakeFileStore
from cloister.stores.fake_snapshots import FakeSnapshotCatalog

from ..conftest import NewTask

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def record(key: str, *, expires_in: timedelta) -> SnapshotRecord:
    return SnapshotRecord(
        key=SnapshotKey(key),
        environment="web",
        repository="/srv/shop",
        commit="a" * 40,
        parts={},
        created_at=NOW - timedelta(days=1),
        expires_at=NOW + expires_in,
    )


async def spec(node: FakeNode, snapshot: SnapshotKey | None = None) -> SandboxSpec:
    image = await FakeImageStore(node).ensure("base")
    return SandboxSpec(image=image, snapshot=snapshot, directory="shop", mirror=Path("/m"), limits=Limits())


async def test_only_sandboxes_of_attempts_that_are_over_are_strays() -> None:
    queue, node, commit = FakeQueue(), FakeNode(), Commit("a" * 40)
    backend = FakeBackend(node)
    task = Task(
        id=TaskId("t1"),
        repository=Repository(address="/srv/shop", directory="shop"),
        revision=Revision(ref="main", commit=commit, default_branch="main", default_commit=commit),
        environment=Environment(name="web"),
        prompt="fix it",
        agent="command",
        attempts=3,
        accepted_at=NOW,
    )
    await queue.submit(task)
    over, running = await queue.claim(), await queue.claim()
    assert over is not None
    assert running is not None
    await queue.finish(over, Outcome(verdict=Verdict.SUCCEEDED))
    for name in (over.sandbox, running.sandbox, SandboxName("t1-1-3"), SandboxName("of-nobody")):
        await backend.create(name, await spec(node))
    assert await destroy_strays(queue, backend) == 2
    assert await backend.list() == [running.sandbox, "t1-1-3"]
    assert await destroy_strays(queue, backend) == 0


async def test_files_of_a_prompt_that_was_never_accepted_are_removed(new_task) -> None:
    queue, files = FakeQueue(), FakeFileStore()
    given = GivenFile(name="a", size_bytes=1, sha256="0" * 64)
    await queue.submit(new_task(files=(given,)))
    kept = ["t1-1-1.artifacts", "t1-1-1.shell-1", "t1.given"]
    for owner in (*kept, "t1.given-lost", "t9.given"):
        await files.keep(owner, {"a": b"1"})
    assert await forget_given_to_nobody(queue, files, NOW) == 2
    assert await files.owners() == kept


async def test_a_snapshot_past_its_time_is_removed_unless_a_sandbox_stands_on_it() -> None:
    node = FakeNode()
    records = [
        record("fresh", expires_in=timedelta(seconds=1)),
        record("expired", expires_in=timedelta(0)),
        record("in use", expires_in=timedelta(hours=-1)),
    ]
    catalog, backend = FakeSnapshotCatalog(records), FakeBackend(node)
    node.snapshots = {kept.key for kept in records}
    await backend.create(SandboxName("t1-1-1"), await spec(node, SnapshotKey("in use")))
    assert await expire_snapshots(catalog, backend, NOW) == 1
    assert {kept.key for kept in await catalog.list()} == node.snapshots == {"fresh", "in use"}
    await backend.destroy(SandboxName("t1-1-1"))
    assert await expire_snapshots(catalog, backend, NOW) == 1
    assert node.snapshots == {"fresh"}


async def test_a_kept_disk_that_no_record_tells_of_is_removed() -> None:
    node = FakeNode()
    node.snapshots |= {SnapshotKey("known"), SnapshotKey("unknown"), SnapshotKey("unknown and in use")}
    backend = FakeBackend(node)
    catalog = FakeSnapshotCatalog([record("known", expires_in=timedelta(hours=1))])
    await backend.create(SandboxName("t1-1-1"), await spec(node, SnapshotKey("unknown and in use")))
    assert await forget_unknown_snapshots(catalog, backend) == 1
    assert node.snapshots == {"known", "unknown and in use"}


def sized(key: str, size: int | None, *, used: int = 0, below: str | None = None) -> SnapshotRecord:
    return replace(
        record(key, expires_in=timedelta(hours=1)),
        size_bytes=size,
        last_used_at=NOW + timedelta(minutes=used),
        below=None if below is None else SnapshotKey(below),
    )


async def evicted(records: Sequence[SnapshotRecord], most: int, *, in_use: str | None = None) -> set[str]:
    node = FakeNode()
    catalog, backend = FakeSnapshotCatalog(records), FakeBackend(node)
    node.snapshots = {kept.key for kept in records}
    if in_use is not None:
        await backend.create(SandboxName("t1-1-1"), await spec(node, SnapshotKey(in_use)))
    count = await evict_snapshots(catalog, backend, most)
    left = {kept.key for kept in await catalog.list()}
    assert left == node.snapshots
    assert count == len(records) - len(left)
    return {kept.key for kept in records} - left


async def test_those_used_longest_ago_go_until_the_others_fit() -> None:
    records = [sized("old", 30, used=1), sized("new", 30, used=3), sized("middle", 30, used=2)]
    assert await evicted(records, 90) == set()
    assert await evicted(records, 89) == {"old"}
    assert await evicted(records, 59) == {"old", "middle"}
    assert await evicted(records, 0) == {"old", "middle", "new"}


async def test_one_that_was_never_used_is_as_old_as_it_is() -> None:
    records = [replace(sized("never", 30), last_used_at=None), sized("once", 30, used=1)]
    assert await evicted(records, 30) == {"never"}


async def test_one_in_use_is_left_and_the_next_goes_in_its_place() -> None:
    records = [sized("old", 30, used=1), sized("new", 30, used=3), sized("middle", 30, used=2)]
    assert await evicted(records, 60, in_use="old") == {"middle"}
    assert await evicted(records, 0, in_use="old") == {"middle", "new"}


async def test_one_whose_size_is_not_known_takes_no_room() -> None:
    assert await evicted([sized("a", None, used=1), sized("b", 30, used=2)], 30) == set()


async def test_a_reaper_waits_for_the_size_of_what_was_kept() -> None:
    node = FakeNode()
    catalog = FakeSnapshotCatalog([sized("new", None, used=2), sized("old", 30, used=1)])
    node.snapshots = {SnapshotKey("new"), SnapshotKey("old")}
    keeper = SnapshotReaper(catalog, FakeBackend(node), most_bytes=50, now=lambda: NOW)
    async with anyio.create_task_group() as group:
        group.start_soon(keeper.run)
        keeper.wake()
        await anyio.sleep(0.01)
        assert len(node.snapshots) == 2
        node.sizes[SnapshotKey("new")] = 40
        keeper.wake()
        with anyio.fail_after(10):
            while len(node.snapshots) > 1:  # noqa: ASYNC110
                await anyio.sleep(0.01)
        group.cancel_scope.cancel()
    [left] = await catalog.list()
    assert (left.key, left.size_bytes) == ("new", 40)


def final(key: str, size: int, *, used: int, below: str | None = None) -> SnapshotRecord:
    return replace(sized(key, size, used=used, below=below), attempt=f"{key}-1-1")


async def test_a_disk_is_used_as_long_as_what_stands_on_it_and_goes_after_that() -> None:
    records = [
        sized("shared", 30, used=1),
        sized("own", 30, used=2, below="shared"),
        final("final", 30, used=9, below="own"),
        sized("other", 30, used=5),
    ]
    assert await evicted(records, 100) == {"other"}, "what it stands on is no older than the final disk"
    assert await evicted(records, 60) == {"other", "final"}
    assert await evicted(records, 0) == {"shared", "own", "final", "other"}


async def test_of_final_disks_alone_there_are_no_more_than_a_few_hundred(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reaper, "MOST_FINAL_DISKS", 2)
    records = [sized("shared", 1), *(final(name, 1, used=used) for used, name in enumerate("abc"))]
    assert await evicted(records, 1000) == {"a"}
    assert await evicted(records[:3], 1000) == set()


async def test_expired_disks_go_each_before_what_it_stands_on() -> None:
    records = [
        record("shared", expires_in=timedelta(0)),
        replace(record("own", expires_in=timedelta(0)), below=SnapshotKey("shared")),
        replace(record("final", expires_in=timedelta(0)), below=SnapshotKey("own"), attempt="t1-1-1"),
    ]
    node = FakeNode()
    node.snapshots = {kept.key for kept in records}
    node.below = {kept.key: kept.below for kept in records if kept.below is not None}
    assert await expire_snapshots(FakeSnapshotCatalog(records), FakeBackend(node), NOW) == 3
    assert node.snapshots == set()


@pytest.mark.anyio
async def test_a_bundle_stays_as_long_as_a_task_of_it_is_not_over(new_task: NewTask) -> None:
    used, unused = "bundle:0123456789abcdef/used", "bundle:0123456789abcdef/unused"
    forge = FakeForge({it: FakeRepository(refs={}) for it in (used, unused, "/srv/project")})
    queue = FakeQueue()
    await queue.submit(new_task(repository=Repository(address=used, directory="used")))
    assert await forget_unused_bundles(queue, forge, NOW) == 1
    assert await forge.unused_bundles(NOW) == [used]
    await queue.cancel(TaskId("t1"))
    assert await forget_unused_bundles(queue, forge, NOW) == 1
    assert await forge.unused_bundles(NOW) == []
