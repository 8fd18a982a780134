"""Git on the host: nothing of the user's or the caller's surroundings counts, and it ends when it has to."""

import os
from pathlib import Path

import anyio
import pytest

from cloister.errors import HostError, RepositoryError
from cloister.git import NO_REPOSITORY, OutputLimitError, run_git


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    path = tmp_path / "r.git"
    anyio.run(lambda: run_git(["init", "--quiet", "--bare", str(path)], git_dir=path))
    return path


@pytest.mark.parametrize(
    "address",
    ["ext::sh -c 'touch /tmp/cloister-canary'", "ssh://localhost/x", "git://localhost/x", "fd::0", "ftp://localhost/x"],
)
async def test_no_other_transport(address: str) -> None:
    with pytest.raises(RepositoryError, match=r"not allowed|unable to find|not supported"):
        await run_git(["ls-remote", "--", address], git_dir=NO_REPOSITORY)


async def test_settings_of_the_user_do_not_count(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".gitconfig").write_text("[user]\n\tname = someone\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "user.name")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "someone")
    output = await run_git(["config", "--get", "user.name"], git_dir=repository, accept=(1,))
    assert output.stdout == b""


async def test_the_way_to_the_network_is_the_administrators(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    with pytest.raises(RepositoryError, match=r"127\.0\.0\.1"):
        await run_git(["ls-remote", "--", "https://example.com/x"], git_dir=NO_REPOSITORY)


async def test_says_what_git_said_last(repository: Path) -> None:
    with pytest.raises(RepositoryError, match=r"git cat-file failed: Not a valid object name nothing"):
        await run_git(["cat-file", "-t", "nothing"], git_dir=repository)


async def test_too_much_output(repository: Path) -> None:
    with pytest.raises(OutputLimitError, match="more than 10 bytes"):
        await run_git(["help", "-a"], git_dir=repository, limit_bytes=10)


async def test_input_that_is_not_read_to_its_end(repository: Path) -> None:
    output = await run_git(["version"], git_dir=repository, stdin=b"x" * 10**6)
    assert output.stdout.startswith(b"git version")


async def test_large_input_and_output_at_once(repository: Path) -> None:
    lines = b"".join(b"%040d\n" % number for number in range(50_000))
    output = await run_git(["cat-file", "--batch-check"], git_dir=repository, stdin=lines)
    assert output.stdout.count(b" missing\n") == 50_000


def children() -> set[int]:
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                if int(parent) == os.getpid() and state != "Z":  # dead ones are ours when we adopt orphans
                    found.add(int(entry.name))
            except (FileNotFoundError, ProcessLookupError):
                continue
    return found


@pytest.fixture
def waiting(tmp_path: Path) -> str:
    """The address of a repository whose upload-pack waits for ever: its HEAD is a fifo."""
    path = tmp_path / "waiting.git"
    for name in ("objects", "refs"):
        (path / name).mkdir(parents=True)
    os.mkfifo(path / "HEAD")
    return str(path)


async def test_the_deadline_ends_it_and_what_it_started(waiting: str) -> None:
    before = children()
    with pytest.raises(RepositoryError, match="did not end within"):
        await run_git(["ls-remote", "--", waiting], git_dir=NO_REPOSITORY, timeout_seconds=0.3)
    assert children() <= before


async def test_cancellation_ends_it(waiting: str) -> None:
    before = children()
    with anyio.move_on_after(0.3) as scope:
        await run_git(["ls-remote", "--", waiting], git_dir=NO_REPOSITORY)
    assert scope.cancelled_caught
    assert children() <= before


async def test_no_git(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloister.git._VARIABLES", {"PATH": "/nonexistent"})
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(HostError, match="git is not installed"):
        await run_git(["version"], git_dir=repository)
