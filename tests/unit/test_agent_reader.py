from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from cloister import agent_reader
from cloister.agent_reader import AgentReader
from cloister.model.agent_report import (
    AgentReport,
    CommandFinished,
    CommandStarted,
    FilesChanged,
    Message,
    Plain,
    PlanMade,
    PlanStep,
    SessionNamed,
    TokensUsed,
)
from cloister.model.event import AgentEvent, AgentEventKind, Event, Usage, event_to_fields, fields_to_event
from cloister.protocols import AgentParser

SECRET = "hünter-2345"


class Shouting:
    """Takes `! text` for a message and `$ line` for a command; fails on `boom`."""

    def __init__(self) -> None:
        self._commands = 0

    def feed(self, line: str) -> Sequence[AgentReport]:
        match line[:2]:
            case "! ":
                return [Message(text=line[2:])]
            case "$ ":
                self._commands += 1
                return [
                    CommandStarted(number=self._commands, command_line=line[2:]),
                    CommandFinished(number=self._commands, command_line=line[2:], output="said\n", status=1),
                ]
            case "bo":
                raise RecursionError("a bug")
        return [Plain(text=line)]

    def close(self) -> Sequence[AgentReport]:
        return [Message(text="bye")]


_: type[AgentParser] = Shouting


class Saying:
    """Answers any line with these reports."""

    def __init__(self, *reports: AgentReport) -> None:
        self._reports = reports

    def feed(self, line: str) -> Sequence[AgentReport]:
        return self._reports

    def close(self) -> Sequence[AgentReport]:
        return ()


def reader_of(parser: AgentParser, *, commands_before: int = 0) -> AgentReader:
    def mask(text: str) -> str:
        return text.replace(SECRET, "[secret TOKEN]")

    return AgentReader(parser, "agent", mask=mask, commands_before=commands_before)


def _told(events: Sequence[Event]) -> list[tuple[str, str]]:
    return [(event.kind, event.command_line or event.text) for event in events if isinstance(event, AgentEvent)]


@given(st.lists(st.integers(min_value=1, max_value=45), max_size=12))
def test_wherever_the_output_is_cut_the_same_is_told(cuts: list[int]) -> None:
    text = "! hello\nwhat is this\n$ make test\n\n! the end\r\nrest"
    reader = reader_of(Shouting())
    events: list[Event] = []
    for start, end in pairwise(sorted({0, *(cut for cut in cuts if cut < len(text)), len(text)})):
        events += reader.feed(text[start:end], end)
    events += reader.end(100)
    assert _told(events) == [
        ("message", "hello"),
        ("plain", "what is this"),
        ("command_started", "make test"),
        ("command_finished", "make test"),
        ("message", "the end"),
        ("plain", "rest"),
        ("message", "bye"),
    ]
    assert reader.last_message == "bye"
    places = [event.read_to for event in events]
    assert places == sorted(places, key=lambda place: place[1] if place else 0)


def test_commands_count_on_from_those_before() -> None:
    events = reader_of(Shouting(), commands_before=4).feed("$ a\n$ b\n", 8)
    assert [event.number for event in events if isinstance(event, AgentEvent)] == [5, 5, 6, 6]


def test_lines_that_a_parser_fails_on_are_told_as_they_are() -> None:
    assert _told(reader_of(Shouting()).feed("boom\n! on\n", 9)) == [("plain", "boom"), ("message", "on")]


def test_plain_lines_that_come_together_are_one_event() -> None:
    assert _told(reader_of(Shouting()).feed("a\n\nb\n! c\nd\n", 9)) == [
        ("plain", "a\n\nb"),
        ("message", "c"),
        ("plain", "d"),
    ]


def test_a_line_that_is_too_long_is_told_in_pieces_and_the_next_one_is_read() -> None:
    reader = reader_of(Shouting())
    long = "! " + "x" * agent_reader.LONGEST_LINE
    events = [*reader.feed(long[:100], 1), *reader.feed(long[100:], 2), *reader.feed("tail\n! next\n", 3)]
    assert [kind for kind, _ in _told(events)] == ["plain", "plain", "message"]
    assert _told(events)[-2:] == [("plain", "tail"), ("message", "next")]
    assert reader.last_message == "next"


def test_every_text_is_masked_before_it_is_cut() -> None:
    half = agent_reader.LONGEST_TEXT // 2
    long = "x" * (half - 3) + SECRET + "y" * half
    events = reader_of(
        Saying(
            Message(text=long),
            CommandFinished(number=1, command_line=SECRET, output=SECRET, status=0),
            FilesChanged(paths=(f"/{SECRET}",)),
            PlanMade(steps=(PlanStep(text=SECRET, done=True),)),
            SessionNamed(session=SECRET),
        )
    ).feed("x\n", 1)
    assert SECRET[:3] not in repr(events)
    assert "[secret TOKEN]" in repr(events)
    (message,) = [event for event in events if isinstance(event, AgentEvent) and event.kind is AgentEventKind.MESSAGE]
    assert len(message.text) < agent_reader.LONGEST_TEXT + 100
    assert "characters are left out" in message.text


def test_what_is_told_can_be_written_and_read_again() -> None:
    used = TokensUsed(input_tokens=100, cached_input_tokens=20, output_tokens=5, cost=0.25)
    events = reader_of(Saying(FilesChanged(paths=("a", "b")), used)).feed("x\n", 17)
    assert events[1] == Usage(
        source="agent",
        input_tokens=100,
        cached_input_tokens=20,
        output_tokens=5,
        cost=0.25,
        command="agent",
        offset=17,
    )
    assert [fields_to_event(event.wire_name, event_to_fields(event)) for event in events] == list(events)
