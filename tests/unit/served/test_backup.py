"""A backup that is made while tasks run is a server with the same tasks; what is damaged makes none."""

import io
import sqlite3
import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
import zstandard

from cloister.cli.session import is_served
from cloister.model.event import AttemptFinished, RecordedEvent
from cloister.model.given import Upload
from cloister.model.task import TaskId, Verdict
from cloister.model.token import Role
from cloister.sandboxes.fake import Hold, Print, Program
from cloister.settings import Settings

from ..cli.conftest import Installation
from .conftest import Machine, Server

pytestmark = pytest.mark.anyio

SECRET, PASSPHRASE = "npm-0123456789-secret", "correct horse battery"


async def _in_thread(installation: Installation, *arguments: str, stdin: str | None = None) -> str:
    done = await anyio.to_thread.run_sync(partial(installation.run, *arguments, stdin=stdin))
    assert done.exit_code == 0, done.output
    return done.output


async def _log(server: Server, task: TaskId) -> list[RecordedEvent]:
    async with server.as_owner() as owner:
        return [event async for event in owner.events(task)]


async def test_a_restored_server_goes_on_with_tasks_logs_files_and_secrets(
    machine: Machine, installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, new = tmp_path / "backup.tar.zst", tmp_path / "new"
    async with machine.server() as server:
        async with server.as_owner() as owner:
            await owner.set_secret("web", "TOKEN", SECRET)
            token = await server.token(Role.VIEWER)
            over = await owner.submit(server.request(files=(Upload(name="a.txt", data=b"given"),)))
            await owner.wait(over.id)
            installation.node.programs["agent"] = Program(steps=[Print(data=b"begun\n"), Hold()])
            running = await owner.submit(server.request())
            async for event in owner.events(running.id, follow=True):
                if "begun" in str(event.event):
                    break
            said = await _in_thread(
                installation, "backup", str(file), "--keys", "sealed", "--passphrase-file", "-", stdin=PASSPHRASE
            )
            assert "keys under a passphrase" in said and "1 files of tasks" in said
            installation.node.release_all()
            await owner.wait(running.id)
        before = await _log(server, over.id)
    monkeypatch.setenv("CLOISTER_STATE", str(new))
    await _in_thread(installation, "restore", str(file), "--passphrase-file", "-", stdin=PASSPHRASE)
    assert file.stat().st_mode & 0o777 == 0o600
    installation.state = new
    installation.node.programs["agent"] = Program(steps=[])
    async with machine.server() as server, server.as_owner() as owner:
        assert {task.task.id for task in await owner.tasks()} == {over.id, running.id}
        assert await _log(server, over.id) == before
        assert (await owner.wait(running.id)).verdict is Verdict.SUCCEEDED, "a worker takes over what ran"
        log = await _log(server, running.id)
        assert [event.seq for event in log] == list(range(1, len(log) + 1))
        assert sum(isinstance(event.event, AttemptFinished) for event in log) == 1
        opened = await server.application.tools.vault.find("web", "TOKEN")
        assert opened is not None and opened.reveal() == SECRET
        assert await server.application.intake.files.read(f"{over.id}.given", "a.txt") == b"given"
        assert (await server.application.tokens.authenticate(token)).name
    with sqlite3.connect(new / "cloister.db") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def _content(file: Path) -> bytes:
    with file.open("rb") as packed:
        return zstandard.ZstdDecompressor().stream_reader(packed).read()


@pytest.fixture
def state(installation: Installation) -> Installation:
    """One with a sealed secret."""
    assert installation.run("secret", "set", "web", "TOKEN", stdin=SECRET).exit_code == 0
    return installation


def test_no_key_is_in_the_clear_unless_that_is_asked_for(state: Installation, tmp_path: Path) -> None:
    key = (state.state / "master.key").read_bytes()
    for how in ("none", "sealed", "clear"):
        file = tmp_path / how
        done = state.run("backup", str(file), "--keys", how, "--passphrase-file", "-", stdin=PASSPHRASE)
        assert done.exit_code == 0, done.output
        assert (key in _content(file)) is (how == "clear")
        assert SECRET.encode() not in _content(file)
        assert ("not in it: the keys" in done.output) is (how == "none")


def test_without_its_key_a_restored_secret_stays_closed_and_with_it_opens(
    state: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert state.run("backup", str(tmp_path / "backup")).exit_code == 0
    monkeypatch.setenv("CLOISTER_STATE", str(tmp_path / "new"))
    restored = state.run("restore", str(tmp_path / "backup"))
    assert "put the keys back" in restored.output
    (tmp_path / "env.toml").write_text('name = "web"\n[setup]\nautomatic = false\n[secrets]\nTOKEN = {}\n')
    arguments = ("run", "--command", "x", "--env", str(tmp_path / "env.toml"), "fix")
    assert "master key" in state.run(*arguments).output
    (tmp_path / "new" / "master.key").write_bytes((state.state / "master.key").read_bytes())
    (tmp_path / "new" / "master.key").chmod(0o600)
    assert state.run(*arguments).exit_code == 0


def _cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _flipped(data: bytes) -> bytes:
    return data[:-40] + bytes([data[-40] ^ 1]) + data[-39:]


def _other_byte_of_the_database(data: bytes) -> bytes:
    content = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data)).read()
    place = content.index(b"SQLite format 3") + 5000
    return zstandard.compress(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])


def _with_member(name: str, kind: bytes = tarfile.REGTYPE) -> Callable[[bytes], bytes]:
    def add(data: bytes) -> bytes:
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w") as tar:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            tar.addfile(member, io.BytesIO())
        return zstandard.compress(content.getvalue())

    return add


DAMAGES: list[tuple[Callable[[bytes], bytes], str]] = [
    (lambda _: b"no backup at all", "is no backup"),
    (lambda _: b"", "is no backup"),
    (_cut, "is no"),
    (_flipped, "backup"),
    (_other_byte_of_the_database, "is damaged"),
    (_with_member("../outside"), "has no place"),
    (_with_member("/etc/cron.d/evil"), "has no place"),
    (_with_member("files/a", tarfile.SYMTYPE), "has no place"),
    (_with_member("files/.hidden"), "has no place"),
]


def test_what_is_damaged_or_hostile_makes_no_state(
    state: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, new = tmp_path / "backup", tmp_path / "new"
    assert state.run("backup", str(file)).exit_code == 0
    whole = file.read_bytes()
    monkeypatch.setenv("CLOISTER_STATE", str(new))
    for damage, said in DAMAGES:
        file.write_bytes(damage(whole))
        done = state.run("restore", str(file))
        assert (done.exit_code, said in done.output) == (2, True), done.output
        assert not new.exists(), "nothing was changed"
    assert not (tmp_path / "outside").exists()
    file.write_bytes(whole)
    assert state.run("restore", str(file)).exit_code == 0, "the twin: undamaged, it makes one"


def test_a_backup_is_known_by_its_digest(state: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "backup"
    digest = state.run("backup", str(file)).output.split("sha256 ")[1].split()[0]
    monkeypatch.setenv("CLOISTER_STATE", str(tmp_path / "new"))
    assert "another digest" in state.run("restore", str(file), "--sha256", "0" * 64).output
    assert not (tmp_path / "new").exists()
    assert state.run("restore", str(file), "--sha256", digest).exit_code == 0


def test_a_state_that_is_in_use_is_never_restored_into(state: Installation, tmp_path: Path) -> None:
    assert state.run("backup", str(tmp_path / "backup")).exit_code == 0
    before = (state.state / "cloister.db").read_bytes()
    done = state.run("restore", str(tmp_path / "backup"))
    assert (done.exit_code, "is in use" in done.output) == (2, True)
    assert (state.state / "cloister.db").read_bytes() == before
    assert not list(state.state.glob(".restore-*"))


def test_another_key_is_never_replaced(state: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, new = tmp_path / "backup", tmp_path / "new"
    assert state.run("backup", str(file), "--keys", "clear").exit_code == 0
    new.mkdir()
    (new / "master.key").write_bytes(b"another")
    monkeypatch.setenv("CLOISTER_STATE", str(new))
    done = state.run("restore", str(file))
    assert (done.exit_code, "another key" in done.output) == (2, True)
    assert [path.name for path in new.iterdir()] == ["master.key"]
    assert (new / "master.key").read_bytes() == b"another"


def test_a_backup_that_was_asked_for_wrongly_is_none(state: Installation, tmp_path: Path) -> None:
    file = tmp_path / "backup"
    for arguments, stdin, said in (
        (("--keys", "all"), None, "none, sealed or clear"),
        (("--keys", "sealed"), None, "need a passphrase"),
        (("--keys", "sealed", "--passphrase-file", "-"), "short", "at least 12 characters"),
    ):
        done = state.run("backup", str(file), *arguments, stdin=stdin)
        assert (done.exit_code, said in done.output) == (2, True), done.output
    assert not file.exists()


def test_a_backup_replaces_no_file_and_leaves_nothing_beside_it(state: Installation, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    (folder / "backup").write_text("precious")
    assert "is there already" in state.run("backup", str(folder / "backup")).output
    assert (folder / "backup").read_text() == "precious"
    assert state.run("backup", str(folder / "other")).exit_code == 0
    assert sorted(path.name for path in folder.iterdir()) == ["backup", "other"]


def test_the_wrong_passphrase_restores_nothing(
    state: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "backup"
    arguments = ("--keys", "sealed", "--passphrase-file", "-")
    assert state.run("backup", str(file), *arguments, stdin=PASSPHRASE).exit_code == 0
    monkeypatch.setenv("CLOISTER_STATE", str(tmp_path / "new"))
    assert "need their passphrase" in state.run("restore", str(file)).output
    done = state.run("restore", str(file), "--passphrase-file", "-", stdin=PASSPHRASE + "!")
    assert "not the passphrase" in done.output
    assert not (tmp_path / "new").exists()


async def test_nothing_is_restored_under_a_server(machine: Machine, installation: Installation, tmp_path: Path) -> None:
    async with machine.server():
        assert is_served(Settings(state=installation.state).socket)
        await _in_thread(installation, "backup", str(tmp_path / "backup"))
        done = await anyio.to_thread.run_sync(installation.run, "restore", str(tmp_path / "backup"))
    assert (done.exit_code, "a server is running" in done.output) == (2, True)
