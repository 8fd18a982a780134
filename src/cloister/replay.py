"""What a terminal would have shown of an attempt: its programs' output as it is, and what its agent told as lines."""

from collections.abc import Iterable, Iterator
from datetime import datetime

from cloister.agent_lines import agent_lines
from cloister.asciicast import as_on_a_terminal, harmless
from cloister.model.event import AgentEvent, Output, RecordedEvent
from cloister.model.phase import Phase
from cloister.neutral_text import TURNS_TEXT


def shown(told: Iterable[RecordedEvent]) -> Iterator[tuple[datetime, str]]:
    """Yield what the agent's terminal showed, and when: for a recording."""
    for recorded in told:
        if recorded.phase is Phase.AGENT or isinstance(recorded.event, AgentEvent):
            text = _text_of(recorded)
            if text:
                yield recorded.at, as_on_a_terminal(text)


def screen_text(recorded: RecordedEvent) -> str:
    """Return what a terminal on a page draws of an event, in any phase; nothing for most of them.

    Colours and movements stay. What asks or sets something of a terminal, and what turns text around, does not.
    """
    return harmless(_text_of(recorded)).translate(TURNS_TEXT)


def _text_of(recorded: RecordedEvent) -> str:
    match recorded.event:
        case Output(told=False) as output:
            return output.text
        case AgentEvent() as event:
            return "".join(f"{line}\n" for line, _ in agent_lines(event))
    return ""
