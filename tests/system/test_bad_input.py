"""Requests that are wrong: a clear error, its exit code, and nothing made of them."""

import contextlib
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cloister.model.task import LARGEST_PROMPT_BYTES

from .installation import QUIET, Installation

REGULAR = ["run", "--command", "true", "do it"]


@dataclass(frozen=True)
class Case:
    """A request, and what the error has to say."""

    says: str
    arguments: list[str] = field(default_factory=lambda: list(REGULAR))
    environment: str | None = None
    prepare: Callable[[Path], None] = lambda _: None
    """Given the directory beside the project."""
    stdin: str | None = None


def _empty_repository(place: Path) -> None:
    subprocess.run(["git", "init", "--quiet", str(place / "empty")], check=True)


def _without_commits(place: Path) -> None:
    _empty_repository(place)
    (place / "empty" / "file").write_text("x")
    subprocess.run(["git", "-C", str(place / "empty"), "add", "."], check=True)


CASES = {
    "unknown ref": Case("there is no branch, tag or commit 'nope'", ["run", "--ref", "nope", *REGULAR[1:]]),
    "no repository": Case("there is no ", ["run", "--repo", "../nowhere", *REGULAR[1:]]),
    "not a repository": Case("is not a git repository", ["run", "--repo", "..", *REGULAR[1:]]),
    "empty repository": Case("no commit", ["run", "--repo", "../empty", *REGULAR[1:]], prepare=_empty_repository),
    "no commits": Case("no commit", ["run", "--repo", "../empty", *REGULAR[1:]], prepare=_without_commits),
    "program as address": Case("ext::", ["run", "--repo", "ext::sh -c touch% canary", *REGULAR[1:]]),
    "a typing error inside a repository": Case("there is no ", ["run", "--repo", "nope", *REGULAR[1:]]),
    "option as address": Case("there is no ", ["run", "--repo=--upload-pack=x", *REGULAR[1:]]),
    "syntax error": Case("environment.toml", environment="name = 'x'\nimage = = 1\n"),
    "unknown key": Case("memory", environment='[limits]\nmemroy = "1GiB"\n'),
    "wrong type": Case("pids", environment='[limits]\npids = "many"\n'),
    "impossible limit": Case("memory", environment='[limits]\nmemory = "1MiB"\n'),
    "unknown image": Case("there is no image 'nope'", environment='image = "nope"\n'),
    "bad variable in the file": Case("1A", environment='[variables]\n1A = "x"\n'),
    "bad variable": Case("A-B", ["run", "--var", "A-B=1", *REGULAR[1:]]),
    "no variable": Case("NAME=VALUE", ["run", "--var", "AB", *REGULAR[1:]]),
    "empty prompt": Case("the prompt is empty", [*REGULAR[:-1], " \n "]),
    "long prompt": Case("1 MiB", [*REGULAR[:-1], "-"], stdin="x" * (LARGEST_PROMPT_BYTES + 1)),
    "no such agent": Case("there is no agent 'nope'", ["run", "--agent", "nope", "do it"]),
    "not a diff": Case("not a diff", ["run", "--patch", "a.txt", *REGULAR[1:]]),
    "secret without a value": Case("TOKEN", environment="[secrets]\nTOKEN = {}\n"),
    "secret that is not set": Case("TOKEN", ["run", "--secret-from-env", "TOKEN", *REGULAR[1:]]),
    "too many attempts": Case("1 to 4", ["run", "--attempts", "5", *REGULAR[1:]]),
    "unknown option": Case("--nope", ["run", "--nope", *REGULAR[1:]]),
    "unknown task": Case("nope", ["task", "show", "nope"]),
    "diff of an unknown task": Case("nope", ["diff", "nope"]),
}


@pytest.mark.parametrize("name", CASES)
def test_a_wrong_request_changes_nothing(installation: Installation, name: str) -> None:
    case = CASES[name]
    case.prepare(installation.project.path.parent)
    arguments = list(case.arguments)
    if case.environment is not None:
        arguments[1:1] = ["--env", str(installation.write(case.environment))]
    ran = installation.cloister(*arguments, stdin=case.stdin)
    assert ran.code == 2, ran
    assert case.says in ran.stderr
    assert "Traceback" not in ran.stderr
    assert ran.stdout == ""
    assert _rows(installation) == 0
    assert _made(installation) == set()
    assert not (installation.project.path / "canary").exists()


def test_a_good_request_makes_rows(installation: Installation) -> None:
    """The twin: what is compared above does change."""
    assert installation.cloister(*installation.task()).code == 0
    assert _rows(installation) == 1
    assert "snapshots" in _made(installation)


def test_a_missing_runtime_points_to_doctor(installation: Installation) -> None:
    installation.variables["CLOISTER_RUNTIME"] = "no-such-runtime"
    ran = installation.cloister(*installation.task())
    assert ran.code == 3, ran
    assert "no-such-runtime" in ran.stderr
    assert "cloister doctor" in ran.stderr
    del installation.variables["CLOISTER_RUNTIME"]
    assert _made(installation) == set()


def test_a_full_disk_is_our_error_and_leaves_nothing_half_made(installation: Installation) -> None:
    environment = QUIET.replace("automatic = false", 'automatic = false\nscript = "head -c 1M /dev/urandom >made"')
    assert installation.cloister("task", "list").code == 0
    with _small_disk(installation.state.with_name("disk"), installation.state):
        filler = installation.state / "filler"
        _fill(filler)
        ran = installation.cloister(*installation.task(environment=environment))
        assert ran.code == 3, ran
        assert "Traceback" not in ran.stderr
        assert list(installation.paths.disks.glob("*")) == []
        filler.unlink()
        again = installation.cloister(*installation.task("cat a.txt; ls -s made", environment=environment))
        assert again.code == 0, again


def _rows(installation: Installation) -> int:
    """Tasks that the database knows."""
    file = installation.state / "cloister.db"
    if not file.exists():
        return 0
    with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
        count: int = database.execute("SELECT count(*) FROM tasks").fetchone()[0]
        return count


def _made(installation: Installation) -> set[str]:
    """What there is of sandboxes, snapshots and results."""
    names = ("disks", "snapshots", "results", "trash")
    return {name for name in names if any((installation.state / name).glob("*"))}


@contextmanager
def _small_disk(file: Path, mount_point: Path) -> Iterator[None]:
    """A file system of 64 MiB over the state directory; its images stay where they are."""
    images = (mount_point / "images").readlink()
    with file.open("wb") as sparse:
        sparse.truncate(64 * 1024**2)
    subprocess.run(["mkfs.ext4", "-q", str(file)], check=True)
    subprocess.run(["mount", "-o", "loop", str(file), str(mount_point)], check=True)
    try:
        mount_point.chmod(0o700)
        (mount_point / "images").symlink_to(images)
        yield
    finally:
        _unmount(mount_point)


def _unmount(mount_point: Path) -> None:
    """As soon as what is done behind a task, copying its disk and reading it for its digest, is done."""
    for _ in range(300):
        if subprocess.run(["umount", str(mount_point)], check=False, capture_output=True).returncode == 0:
            return
        time.sleep(0.1)
    subprocess.run(["umount", str(mount_point)], check=True)


def _fill(filler: Path) -> None:
    with filler.open("wb", 0) as file:
        for size in (1024**2, 4096):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
