"""Who in a sandbox asked for something: a connection, and the program at its end."""

from dataclasses import dataclass

_MOST_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Connection:
    """A TCP connection as the sandbox's end has it: addresses as text, of one family."""

    source: str
    source_port: int
    target: str
    target_port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """A process of a sandbox. What it says of itself may be a lie, but it is always a process of that sandbox."""

    pid: int
    """As the sandbox counts."""
    command: str
    """Its arguments with a space between them, as they are: anything may be in there."""


def printable(command: str) -> str:
    """Return a command line as it is shown: one line, no control characters, not endless."""
    shown = "".join(character if character.isprintable() else "?" for character in command)
    return shown if len(shown) <= _MOST_CHARACTERS else f"{shown[: _MOST_CHARACTERS - 3]}..."
