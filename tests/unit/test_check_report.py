"""What `env check` makes of events and of a message, both of which a sandbox may have a hand in."""

from datetime import UTC, datetime

import pytest

from cloister.check_report import CheckReport
from cloister.model.event import (
    Event,
    PhaseFinished,
    PhaseStarted,
    RecordedEvent,
    SetupStepFinished,
    SetupStepStarted,
    SnapshotMissed,
)
from cloister.model.phase import Phase
from cloister.model.task import AttemptId, AttemptStatus, Outcome, TaskId, TaskState, TaskStatus, Verdict


def _report(*told: tuple[Phase, Event]) -> CheckReport:
    report = CheckReport()
    for seq, (phase, event) in enumerate(told, start=1):
        at, attempt = datetime.now(UTC), AttemptId("t1-1-1")
        report.add(RecordedEvent(seq=seq, at=at, task=TaskId("t1"), attempt=attempt, phase=phase, event=event))
    return report


def _finish(report: CheckReport, message: str, new_task) -> CheckReport:
    outcome = Outcome(verdict=Verdict.SUCCEEDED, message=message)
    attempt = AttemptStatus(attempt=AttemptId("t1-1-1"), number=1, state=TaskState.FINISHED, outcome=outcome)
    report.finish(
        TaskStatus(
            task=new_task(),
            state=TaskState.FINISHED,
            verdict=Verdict.SUCCEEDED,
            finished_at=datetime.now(UTC),
            attempts=(attempt,),
        )
    )
    return report


@pytest.mark.parametrize("message", ["", "hello\n", "  python3 Python 3\n", "versions", "versionspackages\n  a b\n"])
def test_what_the_agent_did_not_write_is_passed_over(message: str, new_task) -> None:
    report = _finish(CheckReport(), message, new_task)
    assert (report.versions, report.packages) == ({}, [])


def test_versions_and_packages_are_read(new_task) -> None:
    message = "versions\n  python3 Python 3.11.2\n  odd\npackages\n  node 7 in a b\n  node 1 in c\n"
    report = _finish(CheckReport(), message, new_task)
    assert report.versions == {"python3": "Python 3.11.2", "odd": ""}
    assert report.packages == [("node", "7 in a b"), ("node", "1 in c")]


def _step(seconds: float | None, *, ok: bool = True) -> SetupStepFinished:
    return SetupStepFinished(
        command="setup", tool="npm", folder="web", reason="web/package-lock.json", seconds=seconds, ok=ok
    )


def test_what_a_second_worker_tells_again_is_there_once() -> None:
    started = PhaseStarted(network="full", secrets=("TOKEN",), brokered=("GH",))
    setup = Phase.SETUP
    report = _report(
        (Phase.PROVISION, SnapshotMissed(key="k" * 64, reason="expired")),
        (setup, started),
        (setup, _step(2.0)),
        (setup, started),
        (setup, _step(None, ok=False)),
        (setup, PhaseFinished(seconds=3.0)),
    )
    assert list(report.step_rows()) == [
        ("setup", "3.0", "full", "TOKEN, GH (brokered)"),
        ("  npm in web/ (web/package-lock.json): failed", "-", "", ""),
    ]
    assert report.snapshot_line() == "snapshot kkkkkkkkkkkk: none fitted (expired)"


def test_what_runs_is_shown_until_it_is_over(new_task) -> None:
    setup = Phase.SETUP
    begun = SetupStepStarted(command="setup", tool="npm", folder="", reason="package-lock.json")
    pip = SetupStepFinished(command="setup", tool="pip", folder="", reason="", seconds=1.0, ok=True)
    report = _report((setup, PhaseStarted(network="full", secrets=())), (setup, pip), (setup, begun))
    running = [("setup", "running"), ("  pip", "1.0"), ("  npm (package-lock.json)", "running")]
    assert [row[:2] for row in report.step_rows()] == running
    _finish(report, "", new_task)
    assert [row[:2] for row in report.step_rows()] == [("setup", "-"), ("  pip", "1.0")], "it was cancelled, say"
