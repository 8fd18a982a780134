"""Repositories that come as bundles, from their own machine to the mirror."""

import os
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cloister.bundling import bundled
from cloister.errors import NotFoundError, UsageError
from cloister.forges.local import LocalForge
from cloister.model.sandbox import Commit
from cloister.model.task import Repository

from .conftest import commit, git

ADDRESS = "bundle:0123456789abcdef/project"
SENT = Repository(address=ADDRESS, directory="project")


async def parts(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), 100):
        yield content[start : start + 100]


async def send(forge: LocalForge, source: Path) -> None:
    async with bundled(source) as bundle:
        await forge.take_bundle(SENT, parts(bundle.path.read_bytes()), head=bundle.head)
    assert not bundle.path.exists()


async def test_what_is_sent_is_what_is_found(forge: LocalForge, source: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="nobody has sent"):
        await forge.resolve(SENT, None)
    first = commit(source, "first of main")
    git(source, "tag", "-a", "-m", "one", "v1")
    git(source, "branch", "old")
    await send(forge, source)
    revision = await forge.resolve(SENT, None)
    assert (revision.ref, revision.commit, revision.foreign) == ("trunk", first, False)
    assert (await forge.resolve(SENT, "v1")).commit == (await forge.resolve(SENT, first[:8])).commit == first
    git(source, "branch", "--quiet", "-D", "old")
    git(source, "switch", "--quiet", "-c", "cloister/t1")
    written = commit(source, "what an agent wrote")
    git(source, "switch", "--quiet", "trunk")
    await send(forge, source)
    assert (await forge.resolve(SENT, "cloister/t1")).foreign, f"{written} is on no branch of a person"
    with pytest.raises(NotFoundError, match="no branch, tag or commit 'old' in bundle:"):
        await forge.resolve(SENT, "old")
    assert await forge.note(SENT) is None
    git(source, "switch", "--quiet", "--detach", "cloister/t1")
    await send(forge, source)
    assert (await forge.resolve(SENT, None)).commit == written
    assert (await forge.mirror(SENT, Commit(written))).parent == tmp_path / "state/mirrors"


async def test_what_is_no_whole_bundle_changes_nothing(forge: LocalForge, source: Path, tmp_path: Path) -> None:
    await send(forge, source)
    kept = await forge.resolve(SENT, None)
    git(source, "bundle", "create", "--quiet", str(tmp_path / "whole"), "trunk")
    commit(source, "second")
    git(source, "bundle", "create", "--quiet", str(tmp_path / "next"), "trunk")
    commit(source, "third")
    git(source, "bundle", "create", "--quiet", str(tmp_path / "thin"), "trunk~1..trunk")
    following, thin = ((tmp_path / name).read_bytes() for name in ("next", "thin"))
    flipped = bytearray(following)
    flipped[-30] ^= 1
    climbing = following.replace(b"refs/heads/trunk", b"refs/heads/../..")
    for content in (b"", b"PACK", b"# v2 git bundle\n\n", following[:-40], bytes(flipped), climbing, thin):
        with pytest.raises((UsageError, NotFoundError)) as refused:
            await forge.take_bundle(SENT, parts(content), head=None)
        assert "/proc/" not in str(refused.value), "a path of ours is nobody's business"
        assert await forge.resolve(SENT, None) == kept, content[:40]
    with pytest.raises(UsageError, match="has no branch 'other'"):
        await forge.take_bundle(SENT, parts(following), head="other")
    assert sorted(path.suffix for path in (tmp_path / "state/mirrors").iterdir()) == [".git", ".lock", ".sent"]
    await forge.take_bundle(SENT, parts(following), head="trunk")
    assert await forge.resolve(SENT, None) != kept, "the twin: it is taken when nothing is wrong with it"


async def test_settings_hooks_and_programs_stay_where_they_are(forge: LocalForge, source: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {canary}\n")
    program.chmod(0o755)
    for setting in ("core.fsmonitor", "uploadpack.packObjectsHook", "filter.x.clean", "diff.external", "core.pager"):
        git(source, "config", setting, str(program))
    for hook in ("post-checkout", "pre-push", "reference-transaction", "post-index-change"):
        (source / ".git/hooks").mkdir(exist_ok=True)
        (source / ".git/hooks" / hook).symlink_to(program)
    await send(forge, source)
    mirror = await forge.mirror(SENT, (await forge.resolve(SENT, None)).commit)
    assert not canary.exists()
    assert "program" not in (mirror / "config").read_text()
    assert not [*mirror.glob("hooks/*")]
    git(source, "status")
    assert canary.exists(), "the twin: whoever asks the repository by its own settings runs them"


async def test_a_link_in_a_bundle_leads_nowhere(forge: LocalForge, source: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.toml").write_text("of the server")
    (source / ".cloister").symlink_to(tmp_path)
    (source / "environment.toml").symlink_to(tmp_path / "secret.toml")
    made = Commit(commit(source, "links"))
    await send(forge, source)
    for path in ("environment.toml", ".cloister/secret.toml", "../secret.toml"):
        assert await forge.read_file(SENT, made, path) is None
    assert await forge.read_file(SENT, made, "README") == b"links", "the twin"


async def test_what_cannot_be_bundled_is_said(source: Path, tmp_path: Path) -> None:
    commit(source, "second")
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{source}", "shallow")
    git(tmp_path, "init", "--quiet", "empty")
    (tmp_path / "plain").mkdir()
    for name, message in (("shallow", "history is not whole"), ("empty", "no commit yet"), ("plain", "not a git")):
        with pytest.raises(UsageError, match=message):
            async with bundled(tmp_path / name):
                raise AssertionError


async def test_who_has_sent_too_much_sends_no_more_and_others_do(source: Path, tmp_path: Path) -> None:
    (source / "large").write_bytes(random.Random(1).randbytes(300_000))
    commit(source, "large")
    forge = LocalForge(tmp_path / "state", most_sent_bytes=500_000)
    await send(forge, source)
    kept = await forge.resolve(SENT, None)
    theirs = Repository(address=ADDRESS + "2", directory="project")
    others = Repository(address="bundle:fedcba9876543210/project", directory="project")
    async with bundled(source) as bundle:
        content = bundle.path.read_bytes()
        for again in (SENT, theirs):
            with pytest.raises(UsageError, match=r"more than 0\.000465661 GiB together"):
                await forge.take_bundle(again, parts(content), head=bundle.head)
        await forge.take_bundle(others, parts(content), head=bundle.head)
    assert await forge.resolve(SENT, None) == kept == await forge.resolve(others, None)
    with pytest.raises(NotFoundError, match="nobody has sent"):
        await forge.resolve(theirs, None)


async def test_what_nobody_uses_goes_and_can_be_sent_again(forge: LocalForge, source: Path, tmp_path: Path) -> None:
    await send(forge, source)
    revision = await forge.resolve(SENT, None)
    later = datetime.now(UTC) + timedelta(days=1)
    [note] = (tmp_path / "state/mirrors").glob("*.sent")
    os.utime(note, (0, 0))
    before = datetime.now(UTC) - timedelta(days=1)
    assert await forge.unused_bundles(before) == [ADDRESS]
    mirror = await forge.mirror(SENT, revision.commit)
    assert (await forge.unused_bundles(before), await forge.forget_bundle(ADDRESS, before)) == ([], False), "it is lent"
    assert mirror.exists()
    assert await forge.forget_bundle(ADDRESS, later)
    assert [path.suffix for path in (tmp_path / "state/mirrors").iterdir()] == [".lock"]
    assert not await forge.forget_bundle(ADDRESS, later), "harmless twice"
    with pytest.raises(NotFoundError, match="nobody has sent"):
        await forge.mirror(SENT, revision.commit)
    await send(forge, source)
    assert await forge.mirror(SENT, revision.commit) == mirror
