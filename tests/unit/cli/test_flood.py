"""Very many lines at once are shown as each of them is for itself, but for colours."""

from datetime import UTC, datetime

from cloister.cli.narrator import Narrator
from cloister.model.event import Output, RecordedEvent
from cloister.model.phase import Phase
from cloister.model.task import AttemptId, TaskId

ATTEMPT = AttemptId("t1-1-1")


def told(text: str) -> str:
    narrator = Narrator({ATTEMPT: "[1] "})
    event = Output(stream="stdout", text=text, command="agent", offset=len(text))
    at = datetime(2026, 1, 1, tzinfo=UTC)
    recorded = RecordedEvent(seq=1, at=at, task=TaskId("t1"), attempt=ATTEMPT, phase=Phase.AGENT, event=event)
    return "\n".join(line.plain for line in narrator.tell(recorded))


def test_a_flood_has_every_line_with_its_label_and_no_escape() -> None:
    lines = [f"line {number}\x1b[31m \x07" for number in range(500)]
    few = [told(line + "\n") for line in lines]
    assert told("\n".join(lines) + "\n").splitlines() == few
    assert few[7] == "[1]   | line 7 \N{REPLACEMENT CHARACTER}"
