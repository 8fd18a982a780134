"""What the egress process says to the worker."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cloister.egress.control import ControlChannel
from cloister.egress.messages import Question, json_to_end, json_to_question, json_to_record
from cloister.model.network import EgressEnd, EgressRecord


class BrokenChildError(Exception):
    """The child said what it never says; it is ended and replaced."""


@dataclass(frozen=True, slots=True)
class Done:
    """The child has carried out an order."""

    ticket: int


@dataclass(frozen=True, slots=True)
class Told:
    """What happened, for the sandbox's log."""

    told: EgressRecord | EgressEnd
    question: Question | None = None
    """Who asked for it, where that is not said yet."""


Said = Done | Told | Question

_SAID: dict[str, Callable[[dict[str, Any]], Said]] = {
    "done": lambda message: Done(message["ticket"]),
    "record": lambda message: Told(
        json_to_record(message["record"]), json_to_question(message["question"]) if message["question"] else None
    ),
    "end": lambda message: Told(json_to_end(message["end"])),
    "who": lambda message: json_to_question(message["question"]),
}


async def hear(channel: ControlChannel) -> Said | None:
    """Return what the child says next, None at its end. It parses hostile input, so it is not trusted either."""
    try:
        received = await channel.receive()
        if received is None:
            return None
        message, descriptors = received
        for descriptor in descriptors:
            os.close(descriptor)
        return _SAID[message["kind"]](message)
    except OSError:
        return None
    except (KeyError, TypeError, ValueError) as error:
        raise BrokenChildError from error
