"""When a repository on this machine is asked anew, and when what it said before still holds."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cloister.forges.remote import read_remote
from cloister.forges.unchanged import Unchanged, state_of

_MINUTE = 60.0


def _git(path: Path, *arguments: str) -> None:
    settings = ("-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "init.defaultBranch=main")
    subprocess.run(["git", *settings, *arguments], cwd=path, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """One with two branches, of which one is packed, and a tag."""
    path = tmp_path / "project"
    path.mkdir()
    _git(path, "init")
    for name in ("one", "two"):
        _git(path, "commit", "--allow-empty", "-m", name)
        _git(path, "branch", name)
    _git(path, "tag", "-a", "v1", "-m", "v1")
    _git(path, "pack-refs")
    _git(path, "commit", "--allow-empty", "-m", "three")
    _age(path / ".git" / "packed-refs")
    return path


def _age(path: Path) -> None:
    """Let a file be older than the times of files are coarse; the time of its inode cannot be set."""
    os.utime(path, (time.time() - _MINUTE,) * 2)


@pytest.fixture(autouse=True)
def _settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: time.time_ns() / 1e9 + _MINUTE)


async def _known_of(path: Path) -> Unchanged:
    known, state = Unchanged(), state_of(path)
    remote = await read_remote(str(path))
    known.keep(path, state, remote)
    return known


async def test_what_has_not_changed_says_what_it_said(repository: Path) -> None:
    known = await _known_of(repository)
    found = known.find(str(repository), state_of(repository))
    assert found == await read_remote(str(repository))
    assert known.find(f"file://{repository}", state_of(repository)) is None


_CHANGES: dict[str, Callable[[Path], None]] = {
    "commit": lambda path: _git(path, "commit", "--allow-empty", "-m", "four"),
    "branch": lambda path: _git(path, "branch", "three"),
    "branch in a folder": lambda path: _git(path, "branch", "fix/this"),
    "packed branch deleted": lambda path: _git(path, "branch", "-D", "one"),
    "packed branch moved": lambda path: _git(path, "branch", "-f", "one", "two"),
    "tag moved": lambda path: _git(path, "tag", "-f", "v1", "one"),
    "other default branch": lambda path: _git(path, "checkout", "-q", "one"),
    "detached": lambda path: _git(path, "checkout", "-q", "--detach"),
    "hidden": lambda path: _git(path, "config", "uploadpack.hideRefs", "refs/heads/one"),
    "packed": lambda path: _git(path, "pack-refs", "--all"),
}


@pytest.mark.parametrize("change", _CHANGES.values(), ids=_CHANGES)
async def test_whatever_changes_in_it_git_is_asked(repository: Path, change: Callable[[Path], None]) -> None:
    known = await _known_of(repository)
    assert known.find(str(repository), state_of(repository)) is not None
    change(repository)
    assert known.find(str(repository), state_of(repository)) is None


async def test_another_repository_in_its_place_is_asked(repository: Path, tmp_path: Path) -> None:
    known = await _known_of(repository)
    repository.rename(tmp_path / "former")
    shutil.copytree(tmp_path / "former", repository)
    assert known.find(str(repository), state_of(repository)) is None


async def test_what_changed_while_git_was_asked_is_not_remembered(repository: Path) -> None:
    known, state = Unchanged(), state_of(repository)
    _git(repository, "branch", "three")
    known.keep(repository, state, await read_remote(str(repository)))
    assert known.find(str(repository), state) is None


async def test_what_git_said_of_a_moment_in_between_is_not_remembered(repository: Path) -> None:
    _git(repository, "branch", "three", "one")
    of_between = await read_remote(str(repository))
    _git(repository, "branch", "-f", "three", "two")
    known, state = Unchanged(), state_of(repository)
    known.keep(repository, state, of_between)
    assert known.find(str(repository), state) is None


def _link(path: Path) -> Path:
    _git(path, "worktree", "add", str(path.parent / "linked"))
    return path.parent / "linked"


def _include(path: Path) -> Path:
    _git(path, "config", "include.path", "other")
    return path


def _symlink(path: Path) -> Path:
    (path / ".git/refs/heads/other").symlink_to("main")
    return path


@pytest.mark.parametrize("make", [_link, _include, _symlink])
def test_where_there_is_more_to_it_nothing_is_known(repository: Path, make: Callable[[Path], Path]) -> None:
    assert state_of(repository) is not None
    assert state_of(make(repository)) is None


def test_refs_that_were_packed_this_very_moment_are_not_relied_on(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    _git(repository, "pack-refs", "--all")
    assert state_of(repository) is None


def test_of_what_is_no_repository_nothing_is_known(tmp_path: Path) -> None:
    assert state_of(tmp_path) is None
    assert state_of(tmp_path / "absent") is None
