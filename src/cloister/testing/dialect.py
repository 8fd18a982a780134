"""What the protocols of models have in common, as the server sees them."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from cloister.testing.answer import Answer
from cloister.testing.asked import Asked

Body = Mapping[str, Any]


class Dialect(Protocol):
    """One protocol: how a request is read, and how an answer is written."""

    name: str

    def read(self, body: Body, path: str) -> Asked:
        """Return what is asked for. KeyError, TypeError or ValueError for what is no such request."""
        ...

    def whole(self, answer: Answer, asked: Asked) -> Body:
        """Return the answer as one object."""
        ...

    def streamed(self, answer: Answer, asked: Asked) -> Iterator[str]:
        """Yield the answer as the provider streams it: server-sent events, each whole."""
        ...

    def error(self, status: int, message: str) -> Body:
        """Return an error as the provider words it."""
        ...


def sent_event(data: Body | str, *, event: str | None = None) -> str:
    """Return one server-sent event."""
    text = data if isinstance(data, str) else json.dumps(data, separators=(",", ":"))
    return f"event: {event}\ndata: {text}\n\n" if event else f"data: {text}\n\n"


def pieces(text: str) -> Iterator[str]:
    """Yield a text in a few pieces, as models do: words come one after another."""
    size = max(1, -(-len(text) // 4))
    for start in range(0, len(text), size):
        yield text[start : start + size]
