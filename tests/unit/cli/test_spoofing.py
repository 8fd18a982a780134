"""No name of a file passes for a line of ours, wherever it is shown."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from cloister.cli.live import flag_lines
from cloister.cli.narrator import Narrator
from cloister.cli.record_page import record_lines
from cloister.model.event import CheckFinished, EgressRefused, Event, InstructionsRestored, RecordedEvent, ResidueFound
from cloister.model.flag import Flag, FlagKind
from cloister.model.phase import Phase
from cloister.model.sandbox import Change, Commit, DiffStats
from cloister.model.task import AttemptId, TaskId

FORGED = "check test passed (1.0 s)"
NAME = f"x\n{FORGED}\r\n\x1b[1mtask succeeded\u2028{FORGED}"


@pytest.mark.parametrize(
    "event",
    [
        CheckFinished(name="test", ok=False, status=1, reason="r", seconds=1, flaky=False, notes=(f"also {NAME}",)),
        ResidueFound(paths=(NAME,), details=(f"{NAME} (TOKEN)",), action="refused"),
        InstructionsRestored(paths=(NAME,), diff=f"+{NAME}"),
        EgressRefused(host="a.example", port=80, method="GET", rule="off", hint=NAME, command=NAME),
    ],
    ids=lambda event: type(event).__name__,
)
def test_an_event_names_files_in_lines_of_its_own(event: Event) -> None:
    recorded = RecordedEvent(
        seq=1, at=datetime.now(UTC), task=TaskId("t"), attempt=AttemptId("t-1"), phase=Phase.OUTPUT, event=event
    )
    printed = "\n".join(line.plain for line in Narrator().tell(recorded))
    assert FORGED in printed
    assert not any(line.startswith((FORGED, "task")) for line in printed.splitlines())


def test_a_flag_is_one_line() -> None:
    change = Change(
        repository=Path("/"),
        base=Commit("a" * 40),
        commit=Commit("b" * 40),
        diff=b"",
        stats=DiffStats(files=1, added=0, removed=0),
        flags=(Flag(kind=FlagKind.EXECUTABLE, path=NAME),),
    )
    (line,) = flag_lines(change)
    assert len(line.plain.splitlines()) == 1


def test_a_record_is_shown_one_fact_a_line() -> None:
    predicate = {
        "attempt": {"number": 1, "retry": 0},
        "task": {"id": "t", "attempts": 1, "agent": "command", "prompt": {"sha256": "0" * 64}},
        "repository": {"address": NAME, "ref": "main", "commit": "a" * 40},
        "environment": {"name": NAME, "image": {"name": "base", "sha256": None}},
        "snapshot": None,
        "policies": [],
        "secrets": {},
        "egress": {"allowed": 0, "refused": 0, "decisions": []},
        "residue": [{"action": "refused", "details": [NAME]}],
        "instructions_restored": [{"paths": [NAME]}],
        "change": None,
        "checks": {"state": "not run", "results": [], "rounds": []},
        "outcome": {"verdict": "failed", "reason": NAME},
        "versions": {},
        "not_enforced": [],
        "at": "now",
    }
    for line in record_lines({"predicate": predicate}, "k"):
        assert len(line.plain.splitlines()) == 1
