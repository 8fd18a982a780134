from datetime import UTC, datetime

import pytest

from cloister.cli.narrator import Narrator
from cloister.model.event import AgentEvent, AgentEventKind, Event, Output, RecordedEvent, Usage
from cloister.model.phase import Phase
from cloister.model.task import TaskId


def told(event: Event, *, raw: bool = False) -> list[str]:
    at = datetime.now(UTC)
    recorded = RecordedEvent(seq=1, at=at, task=TaskId("t1"), attempt=None, phase=Phase.AGENT, event=event)
    return [str(line) for line in Narrator(raw=raw).tell(recorded)]


def test_what_was_understood_is_not_shown_twice() -> None:
    raw = Output(stream="stdout", text='{"type": "message"}\n', command="agent", offset=1, told=True)
    message = AgentEvent(kind=AgentEventKind.MESSAGE, text="done")
    usage = Usage(source="agent", input_tokens=1, cached_input_tokens=0, output_tokens=1)
    assert [told(raw), told(message)] == [[], ["  agent | done"]]
    assert [told(raw, raw=True), told(message, raw=True), told(usage, raw=True)] == [
        ['  | {"type": "message"}'],
        [],
        [],
    ]
    counted = Usage(source="proxy", input_tokens=1, cached_input_tokens=0, output_tokens=1)
    assert told(counted, raw=True) == ["  tokens: 1 in, 1 out"], "nobody printed it"


@pytest.mark.parametrize(
    ("event", "lines"),
    [
        (AgentEvent(kind=AgentEventKind.MESSAGE, text="a\nb\n"), ["  agent | a", "  agent | b"]),
        (AgentEvent(kind=AgentEventKind.REASONING, text="why"), ["  thinks | why"]),
        (AgentEvent(kind=AgentEventKind.COMMAND_STARTED, number=7, command_line="pytest -q"), ["  7 $ pytest -q"]),
        (
            AgentEvent(kind=AgentEventKind.COMMAND_FINISHED, number=7, command_line="x", text="no\n", status=1),
            ["  7 | no", "  7 ended with status 1"],
        ),
        (AgentEvent(kind=AgentEventKind.TOOL_USED, tool="re\nad", text="a.py"), ["  re ad | a.py"]),
        (AgentEvent(kind=AgentEventKind.FILES_CHANGED, paths=("a\n.py", "b")), ["  changed | a .py", "  changed | b"]),
        (
            AgentEvent(kind=AgentEventKind.PLAN_MADE, text="[x] look\n[ ] fix"),
            ["  plan | [x] look", "  plan | [ ] fix"],
        ),
        (AgentEvent(kind=AgentEventKind.FAILED, text="401"), ["  failed | 401"]),
        (AgentEvent(kind=AgentEventKind.PLAIN, text="\x1b[31mred"), ["  | red"]),
        (
            Usage(source="agent", input_tokens=10, cached_input_tokens=4, output_tokens=2, cost=0.5),
            ["  tokens: 10 in (4 cached), 2 out, $0.5000, says the agent"],
        ),
    ],
)
def test_what_an_agent_did_is_told_beside_a_margin(event: Event, lines: list[str]) -> None:
    assert told(event) == lines


def test_of_a_long_output_the_end_is_shown() -> None:
    text = "".join(f"{number}\n" for number in range(30))
    lines = told(AgentEvent(kind=AgentEventKind.COMMAND_FINISHED, number=1, command_line="seq", text=text, status=0))
    assert lines[0] == "  1 | ... 20 lines before: `cloister task logs --raw` has them"
    assert lines[1:] == [f"  1 | {number}" for number in range(20, 30)]
