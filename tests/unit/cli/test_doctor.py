"""What `cloister doctor --fix` says and asks, over a machine that lacks git."""

import json

import pytest
import typer
from typer.testing import CliRunner, Result

from cloister import wiring
from cloister.cli import mending
from cloister.cli.doctor import doctor
from cloister.cli.exit import CloisterGroup
from cloister.doctor import packages
from cloister.doctor.finding import Finding, State, ok

LACKING = Finding(name="git", state=State.FAIL, what="is not installed", do="apt install git", packages=("git",))


class Machine:
    """Looks and installs as the real one does."""

    def __init__(self, *, apt_works: bool) -> None:
        self.apt_works = apt_works
        self.has_git = False
        self.calls: list[str] = []

    async def examine(self, _settings: object) -> list[Finding]:
        return [ok("git", "/usr/bin/git") if self.has_git else LACKING]

    async def installed(self, names: object) -> frozenset[str]:
        return frozenset({"git"} if self.has_git else ())

    async def install(self, names: tuple[str, ...]) -> list[str]:
        self.calls.append(" ".join(names))
        self.has_git = self.apt_works
        return [] if self.apt_works else list(names)


def made_machine(monkeypatch: pytest.MonkeyPatch, *, terminal: bool = False, apt_works: bool = True) -> Machine:
    machine = Machine(apt_works=apt_works)
    monkeypatch.setattr(wiring, "examine_host", machine.examine)
    monkeypatch.setattr(packages, "installed_packages", machine.installed)
    monkeypatch.setattr(packages, "install", machine.install)
    monkeypatch.setattr("cloister.doctor.facts.read_distribution", lambda: "debian")
    monkeypatch.setattr(mending, "has_terminal", lambda: terminal)
    return machine


def run(*arguments: str, typed: str = "") -> Result:
    app = typer.Typer(cls=CloisterGroup)
    app.command()(doctor)
    app.command()(lambda: None)
    return CliRunner().invoke(app, ["doctor", *arguments], input=typed)


def test_without_fix_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = made_machine(monkeypatch)
    assert run("--json").exit_code == 3
    assert machine.calls == []
    assert run("--yes").exit_code == 2


def test_without_a_terminal_nothing_is_done_until_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = made_machine(monkeypatch)
    done = run("--fix")
    assert done.exit_code == 2
    assert "will be installed, without starting a service: git" in done.stderr
    assert "hint: go on without asking: --yes" in done.stderr
    assert machine.calls == []


def test_who_does_not_say_yes_gets_what_was_found(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = made_machine(monkeypatch, terminal=True)
    done = run("--fix", typed="\n")
    assert done.exit_code == 3
    assert "apt install git" in done.stdout
    assert machine.calls == []


@pytest.mark.parametrize(("options", "terminal", "typed"), [(["--yes"], False, ""), ([], True, "y\n")])
def test_what_is_there_afterwards_decides(
    monkeypatch: pytest.MonkeyPatch, options: list[str], terminal: bool, typed: str
) -> None:
    machine = made_machine(monkeypatch, terminal=terminal)
    done = run("--fix", "--json", *options, typed=typed)
    assert done.exit_code == 0
    assert machine.calls == ["git"]
    assert [finding["state"] for finding in json.loads(done.stdout.splitlines()[-1])] == ["ok"]
    assert done.stderr.index("will be installed") < done.stderr.index("installed: git")


def test_a_failure_of_apt_is_told_and_what_is_essential_is_still_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    made_machine(monkeypatch, apt_works=False)
    done = run("--fix", "--yes")
    assert done.exit_code == 3
    assert "not installed: git" in done.stderr
