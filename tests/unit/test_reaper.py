from datetime import UTC, datetime, timedelta
from pathlib import Path

from cloister.model.environment import Environment, Limits
from cloister.model.sandbox import Commit, SandboxName, SandboxSpec
from cloister.model.snapshot import SnapshotKey, SnapshotRecord
from cloister.model.task import Outcome, Repository, Revision, Task, TaskId, Verdict
from cloister.queues.fake import FakeQueue, FakeSnapshotCatalog
from cloister.reaper import destroy_strays, expire_snapshots, forget_unknown_snapshots
from cloister.sandboxes.fake import FakeBackend, FakeNode
from cloister.sandboxes.fake_images import FakeImageStore

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
