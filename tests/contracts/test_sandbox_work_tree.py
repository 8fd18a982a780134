"""What every sandbox backend promises of the work tree and of saved disks; see `protocols`."""

import anyio
import pytest

from cloister.errors import ConflictError, SandboxError
from cloister.model.sandbox import DiffStats, Exit
from cloister.model.snapshot import SnapshotKey
from cloister.sandboxes.fake import Print
from cloister.sandboxes.oci.backend import OciBackend

from .rig import Rig, Script

KEY = SnapshotKey("6" * 64)
TREE = "/workspace/shop"
PATCH = b"diff --git a/README b/README\n--- a/README\n+++ b/README\n@@ -1 +1 @@\n-hello\n+goodbye\n"
NOTHING = DiffStats(files=0, added=0, removed=0)


async def look(rig: Rig, text: str, printed: bytes, *, name: str = "one", id: str = "look") -> None:
    """Expect a script in the work tree to print exactly this."""
    script = Script(text=text, does=[Print(data=printed)])
    ended, stdout, stderr = await rig.run(await rig.create(name), script, id=id, cwd=TREE)
    assert (ended, stdout, stderr) == (Exit(status=0), printed, b"")


async def test_a_checkout_is_what_git_makes(rig: Rig) -> None:
    sandbox = await rig.create()
    await sandbox.checkout(rig.checkout())
    expected = f"hello\nran\ncloister/t1\n{rig.main}\nhttps://example.com/shop.git\n".encode()
    text = "cat README; ./run; git branch --show-current; git rev-parse HEAD; git remote get-url origin; git status -s"
    await look(rig, text, expected)


async def test_an_unchanged_work_tree_is_an_empty_change(rig: Rig) -> None:
    sandbox = await rig.create()
    await sandbox.checkout(rig.checkout())
    change = await sandbox.changes(rig.main)
    assert (change.base, change.commit, change.diff, change.stats) == (rig.main, rig.main, b"", NOTHING)


async def test_a_change_is_what_came_after_the_checkout(rig: Rig) -> None:
    sandbox = await rig.create()
    await sandbox.checkout(rig.checkout())
    await rig.run(sandbox, Script(text="echo x > made-by-setup; echo y > README"), id="setup", cwd=TREE)
    await sandbox.checkout(rig.checkout())
    await look(rig, "cat README made-by-setup", b"hello\nx\n")
    agent = "rm run; echo more >> README; echo n > new; echo i > ignored; ln -s /etc/passwd link; git commit -qam mine"
    await rig.run(sandbox, Script(text=agent), cwd=TREE)
    rig.will_change(b"+more\n+n\n+/etc/passwd\n", DiffStats(files=4, added=3, removed=2))
    change = await sandbox.changes(rig.main)
    assert change.base == rig.main != change.commit
    assert change.stats == DiffStats(files=4, added=3, removed=2)
    for line in (b"+more\n", b"+n\n", b"+/etc/passwd\n"):
        assert line in change.diff
    assert b"made-by-setup" not in change.diff
    assert b"ignored" not in change.diff


async def test_a_starting_patch_is_part_of_the_change(rig: Rig) -> None:
    sandbox = await rig.create()
    await sandbox.checkout(rig.checkout(patch=PATCH))
    await look(rig, "cat README", b"goodbye\n")
    rig.will_change(PATCH, DiffStats(files=1, added=1, removed=1))
    change = await sandbox.changes(rig.main)
    assert change.stats == DiffStats(files=1, added=1, removed=1)


async def test_a_saved_disk_is_what_the_next_sandbox_starts_from(rig: Rig) -> None:
    sandbox = await rig.create()
    await sandbox.checkout(rig.checkout(branch="main"))
    await rig.run(sandbox, Script(text="echo tool > /root/tool; echo y > README"), id="setup", cwd=TREE)
    with pytest.raises(SandboxError, match="not clean"):
        await sandbox.snapshot(KEY)
    assert not await rig.backend.has_snapshot(KEY)
    await sandbox.checkout(rig.checkout(branch="main"))
    assert await sandbox.snapshot(KEY)
    assert not await sandbox.snapshot(KEY)
    assert await rig.backend.has_snapshot(KEY)
    await rig.run(sandbox, Script(text="echo later > /root/tool"), id="agent")
    other = await rig.create("other", snapshot=KEY)
    await other.checkout(rig.checkout())
    await look(rig, "cat /root/tool README; git status -s", b"tool\nhello\n", name="other")
    assert (await other.changes(rig.main)).stats == NOTHING


async def test_a_sandbox_goes_on_above_the_disk_it_saved(rig: Rig) -> None:
    sandbox = await rig.create()
    await sandbox.checkout(rig.checkout(branch="main"))
    await rig.run(sandbox, Script(text="echo tool > /root/tool"), id="setup")
    await sandbox.checkout(rig.checkout(branch="main"))
    await sandbox.snapshot(KEY)
    await sandbox.checkout(rig.checkout())
    assert sandbox.has_started("setup")
    await look(rig, "cat /root/tool README", b"tool\nhello\n")


async def test_a_saved_disk_outlives_its_makers_and_is_removed_once(rig: Rig) -> None:
    sandbox = await rig.create()
    await sandbox.checkout(rig.checkout(branch="main"))
    await sandbox.snapshot(KEY)
    await rig.backend.destroy(rig.name())
    await rig.reopen()
    assert await rig.backend.has_snapshot(KEY)
    await rig.backend.remove_snapshot(KEY)
    await rig.backend.remove_snapshot(KEY)
    assert not await rig.backend.has_snapshot(KEY)


async def test_a_disk_kept_above_a_kept_one_has_both_and_holds_it(rig: Rig) -> None:
    upper = SnapshotKey("7" * 64)
    sandbox = await rig.create()
    await sandbox.checkout(rig.checkout(branch="main"))
    await rig.run(sandbox, Script(text="mkdir /root/d; echo tool > /root/d/tool; echo old > /root/old"), id="setup")
    await sandbox.checkout(rig.checkout(branch="main"))
    await sandbox.snapshot(KEY)
    await rig.run(sandbox, Script(text="rm /root/old; echo more > /root/d/more"), id="maintenance")
    with pytest.raises(SandboxError, match="not clean"):
        await sandbox.snapshot(upper)
    await sandbox.checkout(rig.checkout())
    assert await sandbox.snapshot(upper)
    assert sandbox.stands_on == upper
    with pytest.raises(ConflictError):
        await rig.backend.remove_snapshot(KEY)
    other = await rig.create("other", snapshot=upper)
    await other.checkout(rig.checkout())
    await look(rig, "cd /root; ls d/* old 2>/dev/null; cat d/more", b"d/more\nd/tool\nmore\n", name="other")
    lower = await rig.create("lower", snapshot=KEY)
    await lower.checkout(rig.checkout())
    await look(rig, "cd /root; ls d/* old", b"d/tool\nold\n", name="lower")
    for name in ("one", "other", "lower"):
        await rig.backend.destroy(rig.name(name))
    with pytest.raises(ConflictError):
        await rig.backend.remove_snapshot(KEY)
    await rig.backend.remove_snapshot(upper)
    await rig.backend.remove_snapshot(KEY)
    assert await rig.backend.snapshots() == []


async def test_a_deep_chain_becomes_one_layer_that_shows_the_same_and_needs_no_other(oci_rig: Rig) -> None:
    rig = oci_rig
    sandbox = await rig.create()
    await sandbox.checkout(rig.checkout(branch="main"))
    keys = [SnapshotKey(f"{number:064}") for number in range(6)]
    for number, key in enumerate(keys):
        text = f"mkdir -p /root/d; rm -f /root/d/*; echo {number} > /root/d/{number}; echo {number} >> /root/all"
        await rig.run(sandbox, Script(text=text), id=f"step{number}")
        await sandbox.checkout(rig.checkout(branch="main"))
        assert await sandbox.snapshot(key)
    backend = rig.backend
    assert isinstance(backend, OciBackend)
    places = [backend._node.paths.snapshots / key for key in keys]
    with anyio.fail_after(30):
        while not any((place / "flat").exists() for place in places):  # noqa: ASYNC110
            await anyio.sleep(0.05)
    merged = next(number for number, place in enumerate(places) if (place / "flat").exists())
    shown = "cd /root; ls d; cat all; cat /workspace/shop/README", b"5\n0\n1\n2\n3\n4\n5\nhello\n"
    await look(rig, *shown)
    with pytest.raises(ConflictError):
        await rig.backend.remove_snapshot(keys[0])
    await rig.backend.destroy(rig.name())
    await rig.reopen()
    assert not (places[merged] / "layers").exists()
    for key in reversed(keys[:merged]):
        await rig.backend.remove_snapshot(key)
    other = await rig.create("other", snapshot=keys[-1])
    await other.checkout(rig.checkout())
    await look(rig, *shown, name="other")
