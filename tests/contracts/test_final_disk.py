"""What every sandbox backend promises of the disks that agents left, and follow-ups start from."""

from pathlib import Path

import pytest

from cloister.errors import ConflictError, NotFoundError, SandboxError, TaskFailedError
from cloister.model.sandbox import DiffStats, Exit
from cloister.model.snapshot import SnapshotKey
from cloister.protocols import Sandbox
from cloister.sandboxes.fake import Print
from cloister.sandboxes.oci.paths import paths_of

from .rig import Rig, Script

FIRST, SECOND, SHARED = SnapshotKey("1" * 64), SnapshotKey("2" * 64), SnapshotKey("5" * 64)
SUCCESS = Exit(status=0)
TREE = "/workspace/shop"


def out(data: bytes) -> Print:
    return Print(data=data)


async def shared(rig: Rig) -> None:
    """Keep what setup made, as snapshot SHARED."""
    sandbox = await rig.create("t0-1-1")
    await sandbox.checkout(rig.checkout())
    script = "mkdir /opt/tools; echo 1 >/opt/tools/a; echo 1 >/opt/tools/b; echo kept >ignored; echo old >old"
    assert (await rig.run(sandbox, Script(text=script), id="setup", cwd=TREE))[0] == SUCCESS
    await sandbox.checkout(rig.checkout())
    assert await sandbox.snapshot(SHARED)
    await rig.backend.destroy(rig.name("t0-1-1"))


async def turn(
    rig: Rig, script: Script, number: int, *, on: SnapshotKey | None, keep: SnapshotKey
) -> tuple[Sandbox, bytes]:
    """Let an agent run in a sandbox that is made from a disk, and keep what it leaves. Returns what it printed too."""
    sandbox = await rig.create(f"t1-{number}-1", snapshot=on)
    if number == 1:
        await sandbox.checkout(rig.checkout())
    ended, printed, _ = await rig.run(sandbox, script, cwd=TREE)
    assert ended == SUCCESS
    rig.will_change(b"diff --git a/new b/new\n", DiffStats(files=1, added=1, removed=0))
    await sandbox.changes(rig.main)
    assert await sandbox.keep_final_disk(keep) == (SHARED if on is not None else None)
    return sandbox, printed


async def test_a_disk_without_a_work_tree_is_not_kept(rig: Rig) -> None:
    with pytest.raises(SandboxError, match="has no work tree"):
        await (await rig.create()).keep_final_disk(FIRST)
    assert not await rig.backend.has_snapshot(FIRST)


async def test_no_other_task_starts_from_it(rig: Rig) -> None:
    await turn(rig, Script(text="true"), 1, on=None, keep=FIRST)
    with pytest.raises(SandboxError, match="another task"):
        await rig.create("t2-1-1", snapshot=FIRST)
    await rig.create("t1-2-1", snapshot=FIRST)


async def test_it_is_never_checked_out_or_saved_for_others(rig: Rig) -> None:
    await turn(rig, Script(text="echo x >new"), 1, on=None, keep=FIRST)
    sandbox = await rig.create("t1-2-1", snapshot=FIRST)
    with pytest.raises(SandboxError):
        await sandbox.checkout(rig.checkout())
    with pytest.raises(SandboxError):
        await sandbox.snapshot(SECOND)
    assert await rig.backend.snapshots() == [FIRST]


async def test_the_next_turn_has_what_the_agent_left(rig: Rig) -> None:
    await shared(rig)
    text = "echo x >ignored; echo y >/root/.history; rm README old; echo z >new; echo m >/cloister/out/message.md"
    await turn(rig, Script(text=text), 1, on=SHARED, keep=FIRST)
    await rig.backend.destroy(rig.name("t1-1-1"))
    look = Script(
        text="cat ignored /root/.history new; ls README old /cloister/out/message.md 2>/dev/null; true",
        does=[out(b"x\ny\nz\n")],
    )
    _, printed = await turn(rig, look, 2, on=FIRST, keep=SECOND)
    assert printed == b"x\ny\nz\n"


async def test_a_sandbox_beside_one_of_a_later_turn_has_nothing_that_agents_wrote(rig: Rig) -> None:
    await shared(rig)
    bad = Script(text="echo bad >/opt/tools/a; echo bad >README; echo bad >ignored")
    await turn(rig, bad, 1, on=SHARED, keep=FIRST)
    later, _ = await turn(rig, Script(text="echo bad >/opt/tools/b"), 2, on=FIRST, keep=SECOND)
    assert later.stands_on == FIRST
    for number, of in enumerate(("t1-1-1", "t1-2-1")):
        room = await rig.create(f"room{number}", beside=of)
        await room.checkout(rig.checkout())
        look = Script(text="cat /opt/tools/a /opt/tools/b README ignored", does=[out(b"1\n1\nhello\nkept\n")])
        assert (await rig.run(room, look, id="check", cwd=TREE))[1] == b"1\n1\nhello\nkept\n"


async def test_what_stands_on_a_disk_keeps_it(rig: Rig) -> None:
    await shared(rig)
    await turn(rig, Script(text="true"), 1, on=SHARED, keep=FIRST)
    await rig.backend.destroy(rig.name("t1-1-1"))
    await rig.create("t1-2-1", snapshot=FIRST)
    for key in (FIRST, SHARED):
        with pytest.raises(ConflictError):
            await rig.backend.remove_snapshot(key)
    await rig.backend.destroy(rig.name("t1-2-1"))
    with pytest.raises(ConflictError):
        await rig.backend.remove_snapshot(SHARED)
    await rig.backend.remove_snapshot(FIRST)
    await rig.backend.remove_snapshot(SHARED)
    assert await rig.backend.snapshots() == []
    with pytest.raises(NotFoundError):
        await rig.create("t1-2-1", snapshot=FIRST)


async def test_a_disk_of_a_later_turn_outlives_the_former_ones(rig: Rig) -> None:
    await shared(rig)
    await turn(rig, Script(text="echo 1 >new"), 1, on=SHARED, keep=FIRST)
    await turn(rig, Script(text="echo 2 >>new"), 2, on=FIRST, keep=SECOND)
    for name in ("t1-1-1", "t1-2-1"):
        await rig.backend.destroy(rig.name(name))
    await rig.backend.remove_snapshot(FIRST)
    sandbox = await rig.create("t1-3-1", snapshot=SECOND)
    look = Script(text="cat new", does=[out(b"1\n2\n")])
    assert (await rig.run(sandbox, look, cwd=TREE))[1] == b"1\n2\n"


async def test_what_is_kept_again_replaces_what_was_kept(rig: Rig) -> None:
    await turn(rig, Script(text="echo 1 >new"), 1, on=None, keep=FIRST)
    await rig.reopen()
    again = await rig.create("t1-1-1")
    assert await again.keep_final_disk(FIRST) is None, "behind a worker that was killed"
    await rig.backend.destroy(rig.name("t1-1-1"))
    await turn(rig, Script(text="echo 2 >new"), 1, on=None, keep=FIRST)
    await rig.backend.destroy(rig.name("t1-1-1"))
    sandbox = await rig.create("t1-2-1", snapshot=FIRST)
    look = Script(text="cat new", does=[out(b"2\n")])
    assert (await rig.run(sandbox, look, cwd=TREE))[1] == b"2\n"


# What only real disks have


async def test_the_change_of_a_turn_is_all_that_agents_did(oci_rig: Rig) -> None:
    rig = oci_rig
    await shared(rig)
    first = "echo 1 >>README; rm run; mkdir new; echo a >new/a; echo b >new/b; echo s >ignored; git checkout -qb mine; "
    first += "git add -A; git -c user.name=a -c user.email=a@b commit -qm mine"
    await turn(rig, Script(text=first), 1, on=SHARED, keep=FIRST)
    second = (
        "echo 2 >>README; printf '#!/bin/sh\\necho ran\\n' >run; chmod +x run; rm -r new; mkdir new; echo c >new/c; "
    )
    second += "rm ignored; mkdir ignored"
    sandbox, _ = await turn(rig, Script(text=second), 2, on=FIRST, keep=SECOND)
    change = await sandbox.changes(rig.main)
    assert sorted(change.paths) == ["README", "new/c"], "run is as it was, new/a and new/b are gone again"
    assert "+1\n+2\n" in change.diff.decode()
    await rig.backend.destroy(rig.name("t1-2-1"))
    third = await rig.create("t1-3-1", snapshot=SECOND)
    assert (await third.changes(rig.main)).diff == change.diff, "who does nothing changes nothing of that"


async def test_what_a_turn_left_beside_its_change_is_listed_of_all_turns(oci_rig: Rig) -> None:
    rig = oci_rig
    await shared(rig)
    await turn(rig, Script(text="echo x >/opt/first; echo x >new"), 1, on=SHARED, keep=FIRST)
    sandbox, _ = await turn(rig, Script(text="echo x >/opt/second; echo y >ignored"), 2, on=FIRST, keep=SECOND)
    left = await sandbox.left_behind(await sandbox.changes(rig.main))
    assert [path for path in left if "/.git/" not in path] == ["/opt/first", "/opt/second", "/workspace/shop/ignored"]


async def test_ten_turns_make_no_higher_a_stack(oci_rig: Rig, tmp_path: Path) -> None:
    rig = oci_rig
    await shared(rig)
    keys = [SnapshotKey(f"{number:064x}") for number in range(10)]
    for number, key in enumerate(keys, 1):
        on = keys[number - 2] if number > 1 else SHARED
        await turn(rig, Script(text=f"echo {number} >>count; echo {number} >/opt/{number}"), number, on=on, keep=key)
        await rig.backend.destroy(rig.name(f"t1-{number}-1"))
        if number > 1:
            await rig.backend.remove_snapshot(keys[number - 2])
    layers = [len([*(paths_of(tmp_path / "state").snapshots / key / "layers").iterdir()]) for key in (keys[-1], SHARED)]
    assert layers[0] <= 2
    sandbox = await rig.create("t1-11-1", snapshot=keys[-1])
    _, printed, _ = await rig.run(sandbox, Script(text="wc -l <count; ls /opt | grep -c '[0-9]'"), cwd=TREE)
    assert printed == b"10\n10\n"


async def test_trees_that_cannot_be_merged_fail_the_task_and_not_us(oci_rig: Rig) -> None:
    rig = oci_rig
    deep = "for i in $(seq 300); do mkdir d; cd d; done"
    await turn(rig, Script(text=deep), 1, on=None, keep=FIRST)
    sandbox = await rig.create("t1-2-1", snapshot=FIRST)
    assert (await rig.run(sandbox, Script(text="true"), cwd=TREE))[0] == SUCCESS
    with pytest.raises(TaskFailedError, match="cannot be put together"):
        await sandbox.changes(rig.main)
