"""Nothing in a work tree is executed, and nothing outside of it is read or written; each probe works on plain git."""

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from cloister.errors import TaskFailedError

from .conftest import GIT, Disk, git, head_of

ATTRIBUTES = "* filter=evil diff=evil merge=evil\n"


@dataclass(frozen=True)
class Trap:
    """Configuration that runs `{touch}`, and the plain git command that steps into it."""

    config: str
    command: tuple[str, ...]
    hook: str = ""


TRAPS = {
    "clean filter": Trap('[filter "evil"]\n\tclean = {touch}; cat\n', ("add", "--all")),
    "required clean filter": Trap('[filter "evil"]\n\tclean = {touch}; cat\n\trequired\n', ("add", "--all")),
    "process filter": Trap('[filter "evil"]\n\tprocess = {touch}\n', ("add", "--all")),
    "smudge filter": Trap(
        '[filter "evil"]\n\tsmudge = {touch}; cat\n', ("checkout", "--force", "HEAD", "--", "README")
    ),
    "external diff": Trap("[diff]\n\texternal = {touch};:\n", ("diff",)),
    "diff driver": Trap('[diff "evil"]\n\tcommand = {touch};:\n', ("diff",)),
    "textconv": Trap('[diff "evil"]\n\ttextconv = {touch};:\n', ("diff",)),
    "fsmonitor": Trap("[core]\n\tfsmonitor = {touch};:\n", ("status",)),
    "included": Trap("[include]\n\tpath = ../included\n", ("add", "--all")),
    "merge driver": Trap(
        '[merge "evil"]\n\tdriver = {touch}; false\n', ("apply", "--cached", "--3way", "../conflict.patch")
    ),
    "alias": Trap("[alias]\n\tst = !{touch}\n", ("st",)),
    "hooks path": Trap("[core]\n\thooksPath = evil-hooks\n", ("add", "--all"), hook="evil-hooks/post-index-change"),
    "post-index-change": Trap("", ("add", "--all"), hook=".git/hooks/post-index-change"),
    "post-checkout": Trap("", ("checkout", "-B", "other"), hook=".git/hooks/post-checkout"),
    "pre-commit": Trap("", ("commit", "-am", "x"), hook=".git/hooks/pre-commit"),
    "reference-transaction": Trap("", ("branch", "other2"), hook=".git/hooks/reference-transaction"),
}


# Made from the content of src/deep/b.py, so that it has to be merged into README.
CONFLICT = b"""diff --git a/README b/README
index 6178079..5ea2ed4 100644
--- a/README
+++ b/README
@@ -1 +1 @@
-b
+changed
"""


def try_git(directory: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=directory, env=GIT, capture_output=True, check=False)


def lay(trap: Trap, tree: Path, canary: Path) -> None:
    touch = f"touch {canary}"
    with (tree / ".git/config").open("a") as config:
        config.write(trap.config.format(touch=touch))
    (tree / "included").write_text(f'[filter "evil"]\n\tclean = {touch}; cat\n')
    (tree / ".gitattributes").write_text(ATTRIBUTES)
    (tree / "README").write_text("written\n")
    if trap.hook:
        (tree / trap.hook).parent.mkdir(exist_ok=True)
        (tree / trap.hook).write_text(f"#!/bin/sh\n{touch}\n")
        (tree / trap.hook).chmod(0o755)


@pytest.mark.parametrize("name", TRAPS)
async def test_no_setting_of_the_tree_is_obeyed(disk: Disk, source: Path, tmp_path: Path, name: str) -> None:
    trap, canary, base = TRAPS[name], tmp_path / "canary", head_of(source)
    lay(trap, disk.tree, canary)
    copy = tmp_path / "copy/project"
    shutil.copytree(disk.tree, copy, symlinks=True)
    change = await disk.changes(base)
    disk.checkout(base)
    assert not canary.exists()
    disk.reset()
    with (disk.tree / ".git/config").open("a") as config:
        config.write(trap.config.format(touch=f"touch {canary}"))
    assert disk.checkout(base, patch=change.diff) is None
    assert not canary.exists()
    assert (disk.tree / "README").read_text() == "written\n"
    (copy.parent / "conflict.patch").write_bytes(CONFLICT)
    try_git(copy, *trap.command)
    assert canary.exists(), "plain git has noticed nothing: the probe is blind"


async def test_settings_of_a_repository_inside_are_not_obeyed(disk: Disk, source: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    git(disk.tree, "init", "--quiet", "inner")
    git(disk.tree / "inner", "commit", "--quiet", "--allow-empty", "-m", "x")
    with (disk.tree / "inner/.git/config").open("a") as config:
        config.write(f"[core]\n\tfsmonitor = touch {canary};:\n")
    await disk.changes(head_of(source))
    assert not canary.exists()
    git(disk.tree, "-c", "advice.addEmbeddedRepo=false", "add", "inner")
    git(disk.tree, "status")
    assert canary.exists()


async def test_what_git_directories_point_to_is_not_read(disk: Disk, source: Path, tmp_path: Path) -> None:
    """core.worktree, a gitfile and alternates to places of the host."""
    base = head_of(source)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "README").write_text("outside\n")
    git(disk.tree, "config", "core.worktree", str(outside))
    assert b"outside" in git(disk.tree, "diff")
    (disk.tree / ".git/objects/info/alternates").write_text(f"{outside}\n")
    assert (await disk.changes(base)).commit == base
    shutil.rmtree(disk.tree / ".git")
    (disk.tree / ".git").write_text(f"gitdir: {source}/.git\n")
    assert (await disk.changes(base)).commit == base
    disk.checkout(base)
    assert (disk.tree / ".git").is_dir()
    assert git(disk.tree, "rev-parse", "--show-toplevel").decode().strip() == str(disk.tree)


@pytest.mark.parametrize("kind", ["symlink", "fifo", "file", "nothing"])
async def test_git_directory_is_replaced_whatever_it_became(
    disk: Disk, source: Path, tmp_path: Path, kind: str
) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "config").write_text("kept")
    shutil.rmtree(disk.tree / ".git")
    match kind:
        case "symlink":
            (disk.tree / ".git").symlink_to(precious)
        case "fifo":
            os.mkfifo(disk.tree / ".git")
        case "file":
            (disk.tree / ".git").write_text("x")
    disk.checkout(head_of(source))
    assert git(disk.tree, "status", "--porcelain") == b""
    assert (precious / "config").read_text() == "kept"


@pytest.mark.parametrize("name", ["README", "src", "src/deep", "link", "run.sh"])
@pytest.mark.parametrize("kind", ["symlink out", "fifo", "directory", "removed", "file"])
async def test_checkout_restores_what_setup_made_of_tracked_paths(
    disk: Disk, source: Path, tmp_path: Path, name: str, kind: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    path = disk.tree / name
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    match kind:
        case "symlink out":
            path.symlink_to(outside)
        case "fifo":
            os.mkfifo(path)
        case "directory":
            (path / "with/untracked").mkdir(parents=True)
        case "file":
            path.write_text("x")
    disk.checkout(head_of(source))
    assert git(disk.tree, "status", "--porcelain", "--untracked-files=no") == b""
    assert git(disk.tree, "diff", "--raw", "HEAD") == b""
    assert list(outside.iterdir()) == []


async def test_checkout_is_not_fooled_by_the_same_files_behind_a_symlink(
    source: Path, new_disk: Callable[[Path], Disk]
) -> None:
    """`lstat` of src/a.py tells the same inode and times, so that git by itself sees no difference."""
    disk, base = new_disk(source), head_of(source)
    disk.checkout(base)
    (disk.tree / "src").rename(disk.tree / "moved")
    (disk.tree / "src").symlink_to("moved")
    git(disk.tree, "reset", "--hard")
    assert (disk.tree / "src").is_symlink()
    disk.checkout(base)
    assert not (disk.tree / "src").is_symlink()
    assert (disk.tree / "src/a.py").read_bytes() == (source / "src/a.py").read_bytes()


async def test_work_tree_that_became_a_symlink(disk: Disk, source: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    shutil.rmtree(disk.tree)
    disk.tree.symlink_to(outside)
    with pytest.raises(TaskFailedError, match="removed or replaced"):
        disk.collect(head_of(source))
    disk.checkout(head_of(source))
    assert not disk.tree.is_symlink()
    assert (disk.tree / "README").read_text() == "hello\n"
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("name", [".gitignore", ".gitattributes", "src/deep/.gitignore"])
@pytest.mark.parametrize("kind", ["fifo", "huge"])
async def test_rules_that_git_would_wait_for_are_refused(disk: Disk, source: Path, name: str, kind: str) -> None:
    (disk.tree / name).unlink(missing_ok=True)
    if kind == "fifo":
        os.mkfifo(disk.tree / name)
    else:
        (disk.tree / name).touch()
        os.truncate(disk.tree / name, 64 * 1024**3)
    (disk.tree / "src/deep/new").write_text("x")
    assert name in disk.collect(head_of(source))["refused"]


async def test_a_sparse_file_of_terabytes_is_refused(disk: Disk, source: Path) -> None:
    (disk.tree / "large").touch()
    os.truncate(disk.tree / "large", 4 * 1024**4)
    assert "bytes" in disk.collect(head_of(source))["refused"]


async def test_a_fifo_in_place_of_a_file_counts_as_its_removal(disk: Disk, source: Path) -> None:
    (disk.tree / "README").unlink()
    os.mkfifo(disk.tree / "README")
    change = await disk.changes(head_of(source))
    assert git(change.repository, "diff", "--name-status", change.base, change.commit) == b"D\tREADME\n"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (".GIT/config", "x"),
        ("src/git~1", "x"),
        (".gitmodules", '[submodule "x"]\n\tpath = x\n\turl = --upload-pack=touch /tmp/x\n'),
        (".gitmodules", '[submodule "../../x"]\n\tpath = x\n\turl = https://example.com/x\n'),
    ],
)
async def test_what_git_refuses_to_clone_is_refused(disk: Disk, source: Path, name: str, content: str) -> None:
    (disk.tree / name).parent.mkdir(exist_ok=True)
    (disk.tree / name).write_text(content)
    with pytest.raises(TaskFailedError, match="what git refuses"):
        await disk.changes(head_of(source))


async def test_submodule_path_with_carriage_return(source: Path, new_disk: Callable[[Path], Disk]) -> None:
    """CVE-2025-48384: a submodule at `sub` + CR, a symlink `sub` into .git/hooks, and a hook in the submodule."""
    git(source, "update-index", "--add", "--cacheinfo", f"160000,{head_of(source)},sub\r")
    (source / ".gitmodules").write_text('[submodule "sub"]\n\tpath = "sub\\r"\n\turl = ./x\n')
    (source / "sub").symlink_to(".git/hooks")
    git(source, "add", ".gitmodules", "sub")
    git(source, "commit", "--quiet", "-m", "evil")
    disk = new_disk(source)
    disk.checkout(head_of(source))
    assert not list((disk.tree / ".git/hooks").iterdir())
    assert (disk.tree / "sub").readlink() == Path(".git/hooks")


OUTSIDE_PATCHES = {
    "through a symlink": "--- /dev/null\n+++ b/out/x\n@@ -0,0 +1 @@\n+x\n",
    "through its own symlink": (
        "diff --git a/mine b/mine\nnew file mode 120000\n--- /dev/null\n+++ b/mine\n@@ -0,0 +1 @@\n+{outside}\n"
        "\\ No newline at end of file\n"
        "diff --git a/mine/x b/mine/x\nnew file mode 100644\n--- /dev/null\n+++ b/mine/x\n@@ -0,0 +1 @@\n+x\n"
    ),
    "above": "--- /dev/null\n+++ b/../x\n@@ -0,0 +1 @@\n+x\n",
    "absolute": "--- /dev/null\n+++ {outside}/x\n@@ -0,0 +1 @@\n+x\n",
    "git directory": "--- /dev/null\n+++ b/.git/hooks/pre-commit\n@@ -0,0 +1 @@\n+x\n",
    "no match": "--- a/README\n+++ b/README\n@@ -1 +1 @@\n-other\n+x\n",
    "not a patch": "hello\n",
}


@pytest.mark.parametrize("name", OUTSIDE_PATCHES)
async def test_a_patch_that_does_not_apply_inside_changes_nothing(
    disk: Disk, source: Path, tmp_path: Path, name: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (disk.tree / "out").symlink_to(outside)
    patch = OUTSIDE_PATCHES[name].format(outside=outside)
    refused = disk.checkout(head_of(source), patch=patch.encode())
    if name == "absolute":  # git takes one component off, as for a/ and b/, and stays inside
        assert refused is None
    else:
        assert refused is not None
        assert "does not apply" in refused
    assert list(outside.iterdir()) == []
    assert not list((disk.tree / ".git/hooks").iterdir())
    assert not (disk.tree.parent / "x").exists()
