from datetime import UTC, datetime

import pytest

from cloister.cli.narrator import Narrator
from cloister.model.event import AgentEvent, AgentEventKind, Event, Output, PhaseFinished, RecordedEvent, Usage
from cloister.model.phase import Phase
from cloister.model.task import TaskId


def told(event: Event, *, raw: bool = False) -> list[str]:
    at = datetime.now(UTC)
    recorded = RecordedEvent(seq=1, at=at, task=TaskId("t1"), attempt=None, phase=Phase.AGENT, event=event)
    return [str(line) for line in Narrator(raw=raw).tell(recorded)]


def test_what_was_understood_is_not_shown_twice() -> None:
    raw = Output(stream="stdout", text='{"type": "message"}\n', command="agent", offset=1, told=True)
    message = AgentEvent(kind=AgentEventKind.MESSAGE, text="done")
    assert [told(raw), told(message)] == [[], ["  agent | done"]]
    assert [told(raw, raw=True), told(message, raw=True)] == [['  | {"type": "message"}'], []]


def _usage(source: str, tokens: int, cost: float | None = None) -> Usage:
    return Usage(source=source, input_tokens=tokens, cached_input_tokens=4, output_tokens=2, cost=cost)


@pytest.mark.parametrize(
    ("events", "line"),
    [
        ([], []),
        (
            [_usage("proxy", 10, 0.5), _usage("agent", 21), _usage("proxy", 11, 0.25)],
            ["  model: 2 calls, 21 tokens in (8 cached), 4 out, $0.7500"],
        ),
        ([_usage("agent", 10, 0.5)], ["  model: 10 tokens in (4 cached), 2 out, $0.5000, says the agent"]),
    ],
)
def test_what_model_calls_took_is_told_once_at_the_end_of_a_phase(events: list[Usage], line: list[str]) -> None:
    narrator, at = Narrator(), datetime.now(UTC)
    lines = [
        str(text)
        for event in [*events, PhaseFinished(seconds=1.0)]
        for text in narrator.tell(
            RecordedEvent(seq=1, at=at, task=TaskId("t1"), attempt=None, phase=Phase.AGENT, event=event)
        )
    ]
    assert lines == [*line, "agent took 1.0 s"]


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
    ],
)
def test_what_an_agent_did_is_told_beside_a_margin(event: Event, lines: list[str]) -> None:
    assert told(event) == lines


def test_of_a_long_output_the_end_is_shown() -> None:
    text = "".join(f"{number}\n" for number in range(30))
    lines = told(AgentEvent(kind=AgentEventKind.COMMAND_FINISHED, number=1, command_line="seq", text=text, status=0))
    assert lines[0] == "  1 | ... 20 lines before: `cloister task logs --raw` has them"
    assert lines[1:] == [f"  1 | {number}" for number in range(20, 30)]
