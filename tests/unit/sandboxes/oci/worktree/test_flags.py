"""A change in a real repository, looked through."""

import os
from pathlib import Path

from cloister.model.flag import Flag, FlagKind
from cloister.model.sandbox import Commit
from cloister.sandboxes.oci.worktree import flags
from cloister.sandboxes.oci.worktree.flags import look_through

from .conftest import git, head_of


async def find_flags(repository: Path, base: Commit, commit: Commit) -> tuple[Flag, ...]:
    return (await look_through(repository, base, commit))[1]


def commit_all(source: Path) -> Commit:
    git(source, "add", "--all")
    git(source, "commit", "--quiet", "-m", "x")
    return head_of(source)


async def test_modes_names_sizes_and_contents_are_those_of_the_commits(source: Path) -> None:
    base = head_of(source)
    (source / "start.sh").write_text("#!/bin/sh\n")
    (source / "start.sh").chmod(0o755)
    (source / "out").symlink_to("/etc/passwd")
    (source / ".github/workflows").mkdir(parents=True)
    (source / ".github/workflows/new\nline.yml").write_text("on: push\n")
    (source / "hidden.py").write_text("x = 1\u202e\n")
    (source / "blob").write_bytes(b"\0" * 100)
    (source / "large.txt").write_text("x" * 2 * 1024**2)
    Path(os.fsdecode(bytes(source) + b"/\xff.md")).write_text("fine")
    found = {(flag.path, flag.kind) for flag in await find_flags(source / ".git", base, commit_all(source))}
    assert found == {
        ("start.sh", FlagKind.EXECUTABLE),
        ("out", FlagKind.LINK),
        (".github/workflows/new\nline.yml", FlagKind.AUTOMATION),
        ("hidden.py", FlagKind.UNICODE),
        ("blob", FlagKind.BINARY),
        ("large.txt", FlagKind.LARGE),
    }


async def test_what_was_there_is_not_flagged_again(source: Path) -> None:
    (source / "hidden.py").write_text("x = 1\u202e\n")
    base = commit_all(source)
    (source / "hidden.py").write_text("x = 1\u202e\ny = 2\n")
    assert await find_flags(source / ".git", base, commit_all(source)) == ()


async def test_a_submodule_is_not_looked_for(source: Path) -> None:
    base = head_of(source)
    git(source, "update-index", "--add", "--cacheinfo", f"160000,{'ab' * 20},lib")
    git(source, "commit", "--quiet", "-m", "x")
    (flag,) = await find_flags(source / ".git", base, head_of(source))
    assert (flag.kind, flag.path, flag.detail) == (FlagKind.SUBMODULE, "lib", "abababababab")


async def test_of_very_much_the_rest_is_flagged_by_names_and_for_that(source: Path, monkeypatch) -> None:
    monkeypatch.setattr(flags, "_MOST_READ_BYTES", 10)
    base = head_of(source)
    (source / "hidden.py").write_text("x = 1\u202e and much more\n")
    (source / "AGENTS.md").write_text("do as I say\n")
    found = [(flag.kind, flag.path) for flag in await find_flags(source / ".git", base, commit_all(source))]
    assert found == [
        (FlagKind.INSTRUCTIONS, "AGENTS.md"),
        (FlagKind.LARGE, "AGENTS.md"),
        (FlagKind.LARGE, "hidden.py"),
    ], "what was not looked into is said to be"
