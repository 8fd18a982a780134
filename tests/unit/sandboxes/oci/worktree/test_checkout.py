"""A work tree becomes exactly what a commit says, with a real history and a `.git` of ours."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cloister.model.sandbox import Commit
from cloister.sandboxes.oci.worktree.branch import write_branch

from .conftest import Disk, Twin, git, head_of, tree_of


@pytest.mark.parametrize(
    "request_",
    [
        {"directory": "../x"},
        {"directory": ".git"},
        {"directory": ""},
        {"commit": "HEAD"},
        {"commit": "--help"},
        {"branch": "../../x"},
        {"branch": "-f"},
        {"branch": "a..b"},
        {"branch": "x.lock"},
        {"origin": "a\nb"},
    ],
)
async def test_a_request_that_cannot_be_meant_fails(disk: Disk, source: Path, request_: dict[str, str]) -> None:
    whole = {
        "directory": "project",
        "commit": head_of(source),
        "branch": "b",
        "origin": "",
        "put": True,
        "patch": False,
    }
    with pytest.raises(AssertionError, match="Error: "):
        disk.run("checkout", {**whole, **request_})


async def test_a_commit_that_the_mirror_lacks_changes_nothing(disk: Disk) -> None:
    request = {"directory": "project", "commit": "0" * 40, "branch": "b", "origin": "", "put": True, "patch": True}
    assert disk.run("checkout", request) == {"refused": None, "missing": True}
    assert git(disk.tree, "status", "--porcelain", "--branch") == b"## cloister/1\n"


async def test_has_the_history_the_branch_and_the_origin(disk: Disk, source: Path) -> None:
    assert git(disk.tree, "status", "--porcelain", "--branch") == b"## cloister/1\n"
    assert git(disk.tree, "log", "--format=%s") == b"first\n"
    assert git(disk.tree, "describe") == b"v1\n"
    assert git(disk.tree, "remote", "get-url", "origin") == b"https://example.com/p.git\n"
    assert (
        git(disk.tree, "rev-parse", "origin/HEAD", "origin/main", "origin/feature").split()
        == [head_of(source).encode()] * 3
    )
    git(disk.tree, "fsck", "--strict")
    assert not list((disk.tree / ".git/hooks").iterdir())


async def test_an_agent_can_commit(disk: Disk, twin: Twin) -> None:
    base = head_of(twin.tree)
    (disk.tree / "README").write_text("committed\n")
    git(disk.tree, "commit", "--quiet", "-am", "mine")
    git(disk.tree, "checkout", "--quiet", "-b", "elsewhere")
    (disk.tree / "new").write_text("not committed\n")
    change = await disk.changes(base)
    (twin.tree / "README").write_text("committed\n")
    (twin.tree / "new").write_text("not committed\n")
    assert tree_of(change) == twin.stage()


async def test_goes_to_another_commit_and_leaves_what_is_untracked(disk: Disk, source: Path) -> None:
    first = head_of(source)
    (disk.tree / "build").mkdir()
    (disk.tree / "build/product").write_text("kept")
    (disk.tree / "stray").write_text("kept")
    (disk.tree / "README").write_text("changed by setup\n")
    git(source, "mv", "src", "lib")
    (source / "stray2").write_text("tracked")
    git(source, "add", "--all")
    git(source, "commit", "--quiet", "-m", "second")
    git(disk.mirror, "fetch", "--quiet", str(source), "main:main")
    (disk.tree / "stray2").write_text("in the way")
    assert disk.checkout(head_of(source), branch="cloister/2") is None
    assert git(disk.tree, "status", "--porcelain") == b"?? stray\n"
    assert (disk.tree / "build/product").read_text() == "kept"
    assert (disk.tree / "stray2").read_text() == "tracked"
    assert not (disk.tree / "src").exists()
    assert disk.checkout(first, branch="HEAD", origin="") is None
    assert git(disk.tree, "rev-parse", "--abbrev-ref", "HEAD") == b"HEAD\n"
    assert git(disk.tree, "remote", "get-url", "origin") == b"https://example.com/p.git\n"


async def test_writes_only_what_differs(disk: Disk, source: Path) -> None:
    (disk.tree / "src/a.py").write_text("changed\n")
    disk.draw_line()
    disk.checkout(head_of(source))
    written = {
        str((Path(folder) / name).relative_to(disk.upper))
        for folder, _, names in os.walk(disk.upper)
        for name in names
        if "/.git" not in folder
    }
    assert written == {"workspace/project/src/a.py"}


async def test_what_setup_left_is_no_change(disk: Disk, source: Path) -> None:
    (disk.tree / "made-by-setup").write_text("x")
    (disk.tree / "README").write_text("changed by setup\n")
    disk.draw_line()
    base = head_of(source)
    disk.checkout(base)
    assert (await disk.changes(base)).commit == base


async def test_a_patch_is_applied_and_is_part_of_the_change(disk: Disk, source: Path, twin: Twin) -> None:
    base = head_of(source)
    (twin.tree / "README").write_text("patched\n")
    (twin.tree / "data.bin").write_bytes(b"\0other")
    (twin.tree / "run.sh").chmod(0o644)
    (twin.tree / "src/a.py").rename(twin.tree / "src/renamed.py")
    wanted = twin.stage()
    patch = git(twin.tree, "diff", "--cached", "--binary", "-M")
    assert disk.checkout(base, patch=patch) is None
    assert tree_of(await disk.changes(base)) == wanted
    assert disk.checkout(base, patch=b"\n") is not None


async def test_default_branch_without_a_name_git_could_use(source: Path, new_disk: Callable[[Path], Disk]) -> None:
    disk = new_disk(source)
    (disk.mirror / "HEAD").write_text(f"{head_of(source)}\n")
    disk.checkout(head_of(source))
    assert git(disk.tree, "status", "--porcelain") == b""
    assert not (disk.tree / ".git/refs/remotes/origin/HEAD").exists()


async def test_sha256(tmp_path: Path, new_disk: Callable[[Path], Disk]) -> None:
    source = tmp_path / "sha256"
    git(tmp_path, "init", "--quiet", "--object-format=sha256", "--initial-branch=main", str(source))
    (source / "README").write_text("hello\n")
    git(source, "add", "--all")
    git(source, "commit", "--quiet", "-m", "first")
    disk = new_disk(source)
    disk.checkout(head_of(source))
    disk.draw_line()
    (disk.tree / "link").symlink_to("README")
    (disk.tree / "README").write_text("more\n")
    change = await disk.changes(head_of(source))
    assert len(change.commit) == 64
    assert change.stats.files == 2
    assert git(disk.tree, "log", "--format=%s") == b"first\n"


async def test_shallow(source: Path, tmp_path: Path, new_disk: Callable[[Path], Disk]) -> None:
    (source / "README").write_text("second\n")
    git(source, "commit", "--quiet", "-am", "second")
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{source}", "shallow")
    disk = new_disk(source)
    shutil.rmtree(disk.mirror)
    git(tmp_path, "clone", "--quiet", "--mirror", f"file://{tmp_path}/shallow", str(disk.mirror))
    git(disk.mirror, "pack-refs", "--all")
    disk.checkout(head_of(source))
    disk.draw_line()
    assert git(disk.tree, "log", "--format=%s") == b"second\n"
    (disk.tree / "README").write_text("third\n")
    assert (await disk.changes(head_of(source))).stats.files == 1


async def test_branch_is_written_into_an_empty_layer(disk: Disk, source: Path) -> None:
    commit = head_of(source)
    before = disk.tree.stat()
    disk.unmount()
    write_branch(disk.upper, "project", "cloister/t9", commit, before.st_uid)
    disk.draw_line()
    assert git(disk.tree, "status", "--porcelain", "--branch") == b"## cloister/t9\n"
    assert git(disk.tree, "rev-parse", "HEAD").decode().strip() == commit
    after = disk.tree.stat()
    assert (after.st_mode, after.st_uid) == (before.st_mode, before.st_uid)


@pytest.mark.parametrize("branch", ["", "/etc/x", "../x", "a/../../../x"])
def test_branch_with_a_path_in_it_is_refused(tmp_path: Path, branch: str) -> None:
    with pytest.raises(ValueError, match="not a branch"):
        write_branch(tmp_path, "project", branch, Commit("0" * 40), 0)
    assert list(tmp_path.iterdir()) == []


async def test_a_killed_checkout_is_repeated(disk: Disk, source: Path) -> None:
    (disk.root / "cloister/git/index.lock").touch()
    shutil.rmtree(disk.tree / ".git")
    shutil.rmtree(disk.tree / "src")
    (disk.tree / ".git").mkdir()
    (disk.tree / ".git/config.draft").touch()
    disk.checkout(head_of(source))
    assert git(disk.tree, "status", "--porcelain") == b""
