from datetime import timedelta
from pathlib import Path

import pytest

from cloister.errors import ConflictError, NotFoundError
from cloister.intake import Intake
from cloister.model.environment import Limits
from cloister.model.sandbox import SandboxName, SandboxSpec
from cloister.model.snapshot import SnapshotKey, SnapshotRecord
from cloister.sandboxes.fake import FakeNode

from .conftest import NOW, TIP


async def _keep(intake: Intake, node: FakeNode, key: str, *, environment: str = "web") -> None:
    node.snapshots.add(SnapshotKey(key))
    await intake.catalog.add(
        SnapshotRecord(
            key=SnapshotKey(key),
            environment=environment,
            repository="/srv/project",
            commit=TIP,
            parts={},
            created_at=NOW,
            expires_at=NOW + timedelta(hours=1),
        )
    )


async def test_a_reset_cache_gives_no_snapshot_to_a_new_task_and_takes_none_from_a_running_one(
    intake: Intake, node: FakeNode
) -> None:
    for key, environment in (("free", "web"), ("used", "web"), ("other", "api")):
        await _keep(intake, node, key, environment=environment)
    image = await intake.images.ensure("base")
    spec = SandboxSpec(
        image=image, snapshot=SnapshotKey("used"), directory="x", mirror=Path("/mirrors/x"), limits=Limits()
    )
    await intake.backend.create(SandboxName("running"), spec)
    with pytest.raises(NotFoundError, match="those that have some: api, web"):
        await intake.snapshots.reset("wbe")
    assert node.snapshots == {"free", "used", "other"}
    assert await intake.snapshots.reset("web") == 2
    assert node.snapshots == {"used", "other"}
    assert {record.key: record.expires_at > NOW for record in await intake.snapshots.list()} == {
        "used": False,
        "other": True,
    }


async def test_snapshots_are_removed_by_the_beginning_of_their_key(intake: Intake, node: FakeNode) -> None:
    for key in ("abc1", "abd2"):
        await _keep(intake, node, key)
    for wrong, error in (("", NotFoundError), ("x", NotFoundError), ("ab", ConflictError)):
        with pytest.raises(error):
            await intake.snapshots.remove(wrong)
    assert await intake.snapshots.remove("abc") == "abc1"
    assert node.snapshots == {"abd2"}
    assert [record.key for record in await intake.snapshots.list()] == ["abd2"]
