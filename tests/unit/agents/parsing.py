"""What tests of agents' parsers share: recordings of real programs, and what must hold for each."""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path

from hypothesis import strategies as st

from cloister.model.agent_report import AgentReport, Plain
from cloister.protocols import AgentParser

RECORDINGS = Path(__file__).parent / "recordings"


def lines_of(recording: str) -> list[str]:
    """A recording's lines, without their ends."""
    return (RECORDINGS / recording).read_text().splitlines()


def read_all(parser: AgentParser, lines: Sequence[str]) -> list[AgentReport]:
    """All that is told of a whole output."""
    return [*(report for line in lines for report in parser.feed(line)), *parser.close()]


def json_of(lines: Sequence[str]) -> st.SearchStrategy[object]:
    """Any JSON, of the names and words that a recording has."""
    words = st.sampled_from(sorted({word for line in lines for word in re.findall(r'"([a-z_.]{1,30})"', line)}))
    leaves = st.none() | st.booleans() | st.integers() | words | st.text(max_size=5)
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=5),
        max_leaves=20,
    )


def check_garbled(parser: Callable[[], AgentParser], lines: Sequence[str], seed: int) -> None:
    """Any line may be cut, doubled, spoilt or out of order: the parser fails never, and whatever is no object of
    JSON any more is told as it is."""
    chance = random.Random(seed)
    one = parser()
    for line in chance.sample(lines, len(lines)):
        spoilt = _spoil(line, chance)
        reports = one.feed(spoilt)
        assert all(isinstance(getattr(it, field.name), _FIELD_TYPES) for it in reports for field in fields(it))
        if spoilt and not spoilt.endswith("}"):
            assert Plain(text=spoilt) in reports, spoilt
    one.close()


def check_spoilt_text(parser: Callable[[], AgentParser], lines: Sequence[str], seed: int) -> None:
    """The same for an output that is made for people: it never fails, and what stands alone is told at the end."""
    chance = random.Random(seed)
    one = parser()
    for line in chance.sample(lines, len(lines)):
        one.feed(_spoil(line, chance))
    one.close()
    assert one.close() == []
    assert read_all(parser(), ["one of a kind"]) == [Plain(text="one of a kind")]


_FIELD_TYPES = (str, int, float, tuple, type(None))


def _spoil(line: str, chance: random.Random) -> str:
    at, to = sorted(chance.choices(range(len(line) + 1), k=2))
    match chance.randrange(6):
        case 0:
            return line[:at]
        case 1:
            return line[:at] + chance.choice(['"', "{", "}", "\\", "\x00", "null", "[" * 2000]) + line[at:]
        case 2:
            return line[:at] + line[to:]
        case 3:
            return line.replace('"', "'")
        case 4:
            return line.replace(chance.choice(['"text"', '"type"', '"id"', "true", "1"]), chance.choice(["[1]", '"x"']))
        case _:
            return line
