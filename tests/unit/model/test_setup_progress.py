"""What the script of automatic setup writes down on its way, run by a real bash, and how it is read."""

import subprocess
from pathlib import Path

import pytest

from cloister.model import setup_progress
from cloister.model.setup_plan import InstallStep, SetupPlan
from cloister.model.setup_progress import notes_file, read_notes, with_notes


def _plan(*commands: str) -> SetupPlan:
    steps = [
        InstallStep(tool=f"tool{n}", folder="web" if n else "", reason="lock", commands=(command,), inputs=("lock",))
        for n, command in enumerate(commands)
    ]
    return SetupPlan(steps=tuple(steps))


def _run(place: Path, monkeypatch: pytest.MonkeyPatch, *commands: str, **variables: str) -> tuple[int, list[object]]:
    """Return the script's status, and of each section that was begun whether it is well and has its seconds."""
    (place / "web").mkdir()
    monkeypatch.setattr(setup_progress, "notes_file", lambda command: str(place / command))
    sections = _plan(*commands).sections
    file = place / "setup.sh"
    file.write_text(with_notes(sections, "notes"))
    ran = subprocess.run(["bash", "-e", "-o", "pipefail", file], cwd=place, env={"PATH": "/usr/bin:/bin"} | variables)
    notes = place / "notes"
    ends = read_notes(notes.read_bytes() if notes.exists() else b"", sections, ok=ran.returncode == 0)
    return ran.returncode, [(end.section.tool, end.ok, end.seconds is not None) for end in ends]


WELL = ("tool0", True, True)


@pytest.mark.parametrize(
    "notes",
    [
        b"",
        b"begin",
        b"end 1.000000\n",
        b"begin 1.000000\n" * 3,
        b"end 1.000000\nbegin 1.000000\n",
        b"begin 1.0\n",
        b"begin 1.000000\nhello\n",
        b"begin 1.000000\n" + b"end 1.000000\n" * 2,
        "begin \N{ARABIC-INDIC DIGIT ONE}.000000\n".encode(),
        b"\xff\n",
    ],
)
def test_what_no_script_of_ours_wrote_tells_nothing(notes: bytes) -> None:
    assert read_notes(notes, _plan("true", "true").sections, ok=True) == ()


def test_seconds_never_run_backwards() -> None:
    (end,) = read_notes(b"begin 5.000000\nend 1.000000\n", _plan("true").sections, ok=True)
    assert end.seconds == 0.0


def test_a_failure_keeps_its_status_and_names_its_section(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    status, ends = _run(tmp_path, monkeypatch, "true", "false; exit 7", "true")
    assert (status, ends) == (1, [WELL, ("tool1", False, True)])


def test_an_exit_in_the_middle_is_a_failure_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _run(tmp_path, monkeypatch, "exit 7") == (7, [("tool0", False, True)])


def test_a_script_that_is_killed_leaves_its_last_section_without_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _run(tmp_path, monkeypatch, "true", "kill -9 $$") == (-9, [WELL, ("tool1", False, False)])


def test_a_script_whose_notes_cannot_be_written_does_its_work_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "notes").mkdir()
    monkeypatch.setattr(Path, "read_bytes", lambda _: b"")
    assert _run(tmp_path, monkeypatch, "touch done") == (0, [])
    assert (tmp_path / "done").exists()


def test_a_shell_that_knows_no_clock_tells_the_order_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    status, ends = _run(tmp_path, monkeypatch, "unset EPOCHREALTIME", "true")
    assert (status, ends) == (0, [("tool0", True, False), ("tool1", True, False)])


def test_the_notes_lie_where_a_sandbox_may_be_read() -> None:
    assert notes_file("setup").startswith("/cloister/out/")
    assert notes_file("setup") in with_notes(_plan("true").sections, "setup")
