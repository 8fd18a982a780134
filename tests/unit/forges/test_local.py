"""Repositories by path and by URL: what is refused, what is found, and how often anything is fetched."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from cloister.errors import NotFoundError, RepositoryError, UsageError
from cloister.forges import mirror as mirror_module
from cloister.forges.local import LocalForge
from cloister.git import GitOutput, run_git
from cloister.model.sandbox import Commit

from .conftest import at, commit, git


@pytest.mark.parametrize(
    "address",
    [
        *(
            "ext::sh -c touch% /tmp/canary",
            "fd::17",
            "ssh://git:password@example.com/x",
            "ssh://-oProxyCommand=touch$IFS/tmp/canary/x",
            "-oProxyCommand=touch$IFS/tmp/canary:x",
            "git@example.com:-x",
            "git://example.com/x",
        ),
        *("--upload-pack=touch /tmp/canary", "-x", "relative/path", "https://user:password@example.com/x", "\n/x"),
        *("https://token@example.com/x", "ftp://example.com/x", "transport::/x", ""),
    ],
)
async def test_other_addresses_are_refused(forge: LocalForge, tmp_path: Path, address: str) -> None:
    with pytest.raises(UsageError) as caught:
        await forge.resolve(at(address), None)
    assert "password@" not in str(caught.value)
    assert not (tmp_path / "state").exists()


async def test_a_path_without_a_repository(forge: LocalForge, tmp_path: Path, source: Path) -> None:
    with pytest.raises(NotFoundError, match="there is no"):
        await forge.resolve(at(tmp_path / "absent"), None)
    (tmp_path / "plain").mkdir()
    with pytest.raises(NotFoundError, match="not a git repository") as caught:
        await forge.resolve(at(tmp_path / "plain"), None)
    assert "git init" in str(caught.value.hint)
    (source / "inside").mkdir()
    with pytest.raises(NotFoundError) as caught:
        await forge.resolve(at(source / "inside"), None)
    assert str(source) in str(caught.value.hint)
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("bare", [False, True])
async def test_a_repository_without_commits(forge: LocalForge, tmp_path: Path, bare: bool) -> None:
    git(tmp_path, "init", "--quiet", *(["--bare"] if bare else []), "empty")
    with pytest.raises(NotFoundError, match="no commit yet") as caught:
        await forge.resolve(at(tmp_path / "empty"), None)
    assert "git commit" in str(caught.value.hint)
    assert not (tmp_path / "state").exists()


async def test_a_default_branch_without_commits(forge: LocalForge, source: Path) -> None:
    git(source, "checkout", "--quiet", "--orphan", "new")
    with pytest.raises(NotFoundError, match="default branch") as caught:
        await forge.resolve(at(source), None)
    assert "trunk" in str(caught.value.hint)
    assert (await forge.resolve(at(source), "trunk")).default_branch == "trunk"


@pytest.mark.parametrize("ref", ["trunc", "0000", "f" * 40, "HEAD~1", "refs/heads/none", "-x", "a\nb", "trunk:README"])
async def test_an_unknown_ref(forge: LocalForge, source: Path, ref: str) -> None:
    with pytest.raises(NotFoundError, match="there is no branch, tag or commit") as caught:
        await forge.resolve(at(source), ref)
    if ref == "trunc":
        assert caught.value.hint == "did you mean trunk?"
    if ref == "HEAD~1":
        assert caught.value.hint == "give the commit itself: git rev-parse 'HEAD~1'"


async def test_a_tag_of_something_else_is_no_commit(forge: LocalForge, source: Path) -> None:
    git(source, "tag", "tree", git(source, "rev-parse", "HEAD^{tree}"))
    with pytest.raises(NotFoundError, match="is not a commit"):
        await forge.resolve(at(source), "tree")


async def test_a_short_commit_that_stands_for_several(forge: LocalForge, source: Path) -> None:
    seen: dict[str, str] = {}
    tree = git(source, "rev-parse", "HEAD^{tree}")
    for number in range(2000):
        made = git(source, "commit-tree", tree, "-m", str(number))
        if made[:4] in seen:
            break
        seen[made[:4]] = made
    git(source, "branch", "one", made)
    git(source, "branch", "two", seen[made[:4]])
    with pytest.raises(UsageError, match="is short for 2 commits"):
        await forge.resolve(at(source), made[:4])
    assert (await forge.resolve(at(source), made)).commit == made


async def test_branch_tag_and_commit(forge: LocalForge, source: Path) -> None:
    first = git(source, "rev-parse", "HEAD")
    git(source, "tag", "light")
    git(source, "tag", "-a", "annotated", "-m", "x")
    git(source, "tag", "both")
    git(source, "checkout", "--quiet", "-b", "feature/x")
    second = commit(source, "second")
    git(source, "branch", "both")
    git(source, "checkout", "--quiet", "trunk")
    wanted = {
        None: first,
        "trunk": first,
        "feature/x": second,
        "light": first,
        "annotated": first,
        "both": second,
        "refs/tags/both": first,
        "refs/heads/feature/x": second,
        first: first,
        second[:8]: second,
        second.upper(): second,
        "HEAD": first,
    }
    for ref, expected in wanted.items():
        revision = await forge.resolve(at(source), ref)
        assert revision.commit == expected, ref
        assert (revision.default_branch, revision.default_commit) == ("trunk", first)


async def test_a_detached_head(forge: LocalForge, source: Path) -> None:
    """As continuous integration leaves it: HEAD at a commit that no branch has."""
    git(source, "checkout", "--quiet", "--detach")
    head = commit(source, "detached")
    revision = await forge.resolve(at(source), None)
    assert (revision.ref, revision.commit, revision.default_branch) == ("HEAD", head, "HEAD")


@pytest.mark.parametrize("form", ["{}", "file://{}"])
async def test_bare_and_file_addresses(forge: LocalForge, source: Path, tmp_path: Path, form: str) -> None:
    bare = tmp_path / "with space.git"
    git(tmp_path, "clone", "--quiet", "--bare", str(source), str(bare))
    address = form.format(str(bare).replace(" ", "%20") if form.startswith("file") else bare)
    revision = await forge.resolve(at(address), "trunk")
    mirror = await forge.mirror(at(address), revision.commit)
    assert git(mirror, "log", "--format=%s", revision.commit) == "first"


async def test_a_linked_work_tree_and_a_shallow_clone(forge: LocalForge, source: Path, tmp_path: Path) -> None:
    head = commit(source, "second")
    git(source, "worktree", "add", "--quiet", str(tmp_path / "linked"), "-b", "linked")
    assert (await forge.resolve(at(tmp_path / "linked"), None)).ref == "linked"
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{source}", "shallow")
    revision = await forge.resolve(at(tmp_path / "shallow"), None)
    assert revision.commit == head
    mirror = await forge.mirror(at(tmp_path / "shallow"), head)
    assert git(mirror, "log", "--format=%s", head) == "second"


async def test_sha256(forge: LocalForge, tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "--object-format=sha256", "large")
    head = commit(tmp_path / "large", "first")
    assert (await forge.resolve(at(tmp_path / "large"), head[:10])).commit == head


async def test_follows_what_happens(forge: LocalForge, source: Path) -> None:
    first = (await forge.resolve(at(source), None)).commit
    git(source, "branch", "topic")
    await forge.resolve(at(source), "topic")
    git(source, "branch", "-D", "topic")
    git(source, "branch", "topic/inner")  # a file of refs becomes a directory
    git(source, "commit", "--quiet", "--amend", "-m", "rewritten")
    second = (await forge.resolve(at(source), None)).commit
    assert second != first
    mirror = await forge.mirror(at(source), first)
    assert git(mirror, "cat-file", "-t", first) == "commit"
    assert "topic/inner" in git(mirror, "for-each-ref")
    git(source, "checkout", "--quiet", "-b", "renamed")
    assert (await forge.resolve(at(source), None)).default_branch == "renamed"
    assert git(mirror, "symbolic-ref", "HEAD") == "refs/heads/renamed"


async def test_a_mirror_that_was_lost_is_made_again(forge: LocalForge, source: Path, tmp_path: Path) -> None:
    head = (await forge.resolve(at(source), None)).commit
    shutil.rmtree(tmp_path / "state")
    mirror = await forge.mirror(at(source), head)
    assert git(mirror, "cat-file", "-t", head) == "commit"
    with pytest.raises(RepositoryError, match="no longer"):
        await forge.mirror(at(source), Commit("1" * 40))


async def test_read_file(forge: LocalForge, source: Path) -> None:
    (source / "d").mkdir()
    (source / "d/f").write_bytes(b"\0content")
    (source / "link").symlink_to("d/f")
    head = Commit(commit(source, "files"))
    assert await forge.read_file(at(source), head, "d/f") == b"\0content"
    for path in ("d", "link", "absent", "d/f/x", ":(glob)*", "../README", "-x"):
        assert await forge.read_file(at(source), head, path) is None


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The git commands that mirrors run."""
    commands: list[str] = []

    async def run(arguments: list[str], **options: object) -> GitOutput:
        commands.append(arguments[0])
        return await run_git(arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(mirror_module, "run_git", run)
    return commands


async def test_a_warm_resolve_runs_nothing_on_the_mirror(forge: LocalForge, source: Path, counted: list[str]) -> None:
    revision = await forge.resolve(at(source), None)
    counted.clear()
    await forge.resolve(at(source), "trunk")
    await forge.mirror(at(source), revision.commit)
    assert counted == []


async def test_tasks_fetch_once(forge: LocalForge, source: Path, counted: list[str]) -> None:
    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(forge.resolve, at(source), None)
    assert counted.count("fetch") == 1


RESOLVE = """
import sys, anyio
from pathlib import Path
from cloister.forges.local import LocalForge
from cloister.model.task import Repository
forge, repository = LocalForge(Path(sys.argv[1])), Repository(address=sys.argv[2], directory="project")
print(anyio.run(forge.resolve, repository, None).commit)
"""


def test_processes_share_a_mirror(source: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", RESOLVE, str(tmp_path / "state"), str(source)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    answers = [process.communicate(timeout=60)[0].strip() for process in running]
    assert answers == [git(source, "rev-parse", "HEAD")] * 4


async def test_a_cancelled_wait_for_the_lock_gives_it_back(forge: LocalForge, source: Path, tmp_path: Path) -> None:
    head = git(source, "rev-parse", "HEAD")
    await forge.resolve(at(source), None)
    commit(source, "second")
    lock = next((tmp_path / "state/mirrors").glob("*.lock"))
    with lock.open("ab") as held:
        mirror_module.fcntl.flock(held, mirror_module.fcntl.LOCK_EX)
        with anyio.move_on_after(0.2) as scope:
            await forge.resolve(at(source), None)
        assert scope.cancelled_caught
    with anyio.fail_after(20):
        assert (await forge.resolve(at(source), None)).commit != head


async def test_settings_of_the_source_run_nothing(forge: LocalForge, source: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    touch = f"touch {canary};:"
    with (source / ".git/config").open("a") as config:
        config.write(f'[core]\n\tfsmonitor = {touch}\n\tsshCommand = {touch}\n[filter "x"]\n\tclean = {touch}\n')
        config.write(f"[uploadpack]\n\tpackObjectsHook = {touch}\n[alias]\n\tls-remote = !{touch}\n")
    (source / ".gitattributes").write_text("* filter=x\n")
    (source / "README").write_text("other\n")
    for hook in ("post-update", "reference-transaction", "pre-receive", "post-index-change"):
        (source / ".git/hooks").mkdir(exist_ok=True)
        (source / ".git/hooks" / hook).write_text(f"#!/bin/sh\n{touch}\n")
        (source / ".git/hooks" / hook).chmod(0o755)
    await forge.resolve(at(source), None)
    assert await forge.note(at(source)) == "2 uncommitted files are not part of the task"
    assert not canary.exists()
    git(source, "status")
    assert canary.exists()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
async def test_a_repository_of_another_user(forge: LocalForge, source: Path) -> None:
    for folder, folders, names in os.walk(source):
        for name in (".", *folders, *names):
            os.lchown(Path(folder, name), 12345, 12345)
    head = (await forge.resolve(at(source), None)).commit
    assert await forge.read_file(at(source), head, "README") == b"first"
    (source / "README").write_text("changed")
    assert await forge.note(at(source)) == "1 uncommitted file is not part of the task"


class TestNote:
    async def test_clean(self, forge: LocalForge, source: Path) -> None:
        (source / ".git/info").mkdir(exist_ok=True)
        (source / ".git/info/exclude").write_text("local\n")
        (source / "local").touch()
        os.utime(source / "README", (1, 1))
        assert await forge.note(at(source)) is None

    async def test_counts_staged_changed_deleted_and_new(self, forge: LocalForge, source: Path) -> None:
        for name in ("a", "b", "c"):
            (source / name).write_text("x")
        commit(source, "more")
        (source / "a").write_text("y")
        git(source, "add", "a")
        (source / "b").unlink()
        (source / "c").write_text("changed")
        (source / "new\nfile").touch()
        index = (source / ".git/index").read_bytes()
        assert await forge.note(at(source)) == "4 uncommitted files are not part of the task"
        assert (source / ".git/index").read_bytes() == index

    async def test_of_a_linked_work_tree(self, forge: LocalForge, source: Path, tmp_path: Path) -> None:
        git(source, "worktree", "add", "--quiet", str(tmp_path / "linked"))
        (tmp_path / "linked/new").touch()
        assert await forge.note(at(tmp_path / "linked")) == "1 uncommitted file is not part of the task"
        assert await forge.note(at(source)) is None

    async def test_of_what_has_no_work_tree(self, forge: LocalForge, source: Path, tmp_path: Path) -> None:
        git(tmp_path, "clone", "--quiet", "--bare", str(source), "bare.git")
        assert await forge.note(at(tmp_path / "bare.git")) is None
        assert await forge.note(at("https://example.com/x")) is None

    async def test_of_what_cannot_be_read(self, forge: LocalForge, source: Path) -> None:
        (source / ".git/index").write_bytes(b"damaged")
        assert await forge.note(at(source)) is None


class TestHttp:
    async def test_reads(self, forge: LocalForge, source: Path, server: str) -> None:
        head = git(source, "rev-parse", "HEAD")
        git(source, "checkout", "--quiet", "--detach")
        unnamed = commit(source, "not on a branch")
        git(source, "checkout", "--quiet", "trunk")
        revision = await forge.resolve(at(f"{server}/source/.git"), None)
        assert (revision.ref, revision.commit) == ("trunk", head)
        assert (await forge.resolve(at(f"{server}/source/.git"), head[:7])).commit == head
        assert (await forge.resolve(at(f"{server}/source/.git"), unnamed)).commit == unnamed
        assert await forge.note(at(f"{server}/source/.git")) is None

    async def test_not_there(self, forge: LocalForge, server: str) -> None:
        with pytest.raises(NotFoundError, match="no git repository"):
            await forge.resolve(at(f"{server}/absent"), None)

    async def test_private(self, forge: LocalForge, server: str) -> None:
        with pytest.raises(RepositoryError, match="asks for a login"):
            await forge.resolve(at(f"{server}/private"), None)

    async def test_a_redirect_is_not_followed(self, forge: LocalForge, source: Path, server: str) -> None:
        with pytest.raises(RepositoryError):
            await forge.resolve(at(f"{server}/moved/.git"), None)

    async def test_out_of_reach(self, forge: LocalForge) -> None:
        with pytest.raises(RepositoryError, match="could not be read"):
            await forge.resolve(at("http://127.0.0.1:1/x"), None)
