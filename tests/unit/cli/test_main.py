import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from cloister.cli.commands import AllCommands, LaterCommand
from cloister.cli.main import app

from .conftest import Installation

ALL = AllCommands().commands


def commands(command: object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    if isinstance(command, LaterCommand):
        command = command.load()
    for name, below in getattr(command, "commands", {}).items():
        yield from commands(below, (*path, name))


@pytest.mark.parametrize("path", list(commands(get_command(app))), ids=" ".join)
def test_every_command_has_help_with_an_example(path: tuple[str, ...]) -> None:
    done = CliRunner().invoke(app, [*path, "--help"])
    assert done.exit_code == 0
    assert "Example:  cloister" in done.stdout


@pytest.mark.parametrize("name", ALL)
def test_help_of_all_commands_says_of_each_what_its_own_says(name: str) -> None:
    told = ALL[name]
    assert isinstance(told, LaterCommand)
    assert told.help == " ".join(told.load().help.split("\n\n")[0].split())


def test_help_of_all_commands_loads_none_of_them() -> None:
    script = (
        "import sys; from typer.testing import CliRunner; from cloister.cli.main import app;"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0;"
        "print([name for name in sys.modules if name in ('cloister.cli.run', 'cloister.cli.task')])"
    )
    assert subprocess.run([sys.executable, "-c", script], check=True, capture_output=True).stdout == b"[]\n"


def test_help_loads_no_part_of_the_application() -> None:
    script = (
        "import sys; from cloister.cli.commands import AllCommands;"
        "[one.load() for one in AllCommands().commands.values()];"
        "print([name for name in ('anyio', 'pydantic', 'sqlalchemy', 'cryptography', 'asyncio', 'structlog',"
        " 'cloister.intake', 'cloister.wiring', 'cloister.settings') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", script], check=True, capture_output=True).stdout == b"[]\n"


def test_python_m_cloister_is_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "cloister", "--help"], check=True, capture_output=True, text=True)
    assert "Usage: cloister" in done.stdout


def test_a_closed_pipe_is_no_traceback() -> None:
    done = subprocess.run(
        f"{sys.executable} -m cloister --help | true", shell=True, capture_output=True, check=False, text=True
    )
    assert "Traceback" not in done.stderr


def test_a_state_directory_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("CLOISTER_STATE", str(tmp_path / "file"))
    done = CliRunner().invoke(app, ["task", "list"])
    assert done.exit_code == 3
    assert f"cannot write the state directory {tmp_path / 'file'}" in done.stderr
    assert "CLOISTER_STATE" in done.stderr


def test_the_state_directory_is_its_owners_alone(installation: Installation) -> None:
    assert installation.run("task", "list").exit_code == 0
    assert installation.state.stat().st_mode & 0o777 == 0o700
    assert (installation.state / "log" / "cloister.log").stat().st_mode & 0o777 == 0o600
