"""The egress process asks the worker who in a sandbox holds the other end of a connection."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass

from cloister.egress.messages import Question
from cloister.model.asker import Asker, Connection

_ANSWER_SECONDS = 0.15


@dataclass(slots=True, eq=False)
class _Served:
    question: Question
    answer: "asyncio.Future[Asker | None] | None" = None
    """None before somebody wanted to know."""


_SERVED: ContextVar[_Served | None] = ContextVar("served connection", default=None)
"""What the current task serves; the tasks that it starts serve the same."""


class Asking:
    """The questions of this process: one a connection, and only when somebody wants to know."""

    def __init__(self, ask: Callable[[Question], Awaitable[None]]) -> None:
        self._ask = ask
        self._last_number = 0
        self._waiting: dict[int, asyncio.Future[Asker | None]] = {}

    def begin(self, sandbox: str, connection: Connection) -> int:
        """Let what the current task asks be about this connection, whose peer is in the sandbox. Return its number."""
        self._last_number += 1
        _SERVED.set(_Served(Question(sandbox, self._last_number, connection)))
        return self._last_number

    def end(self, number: int) -> None:
        """Wait no more for what was asked about that connection."""
        self._waiting.pop(number, None)

    def question(self) -> Question | None:
        """Return what could be asked about the current task's connection."""
        served = _SERVED.get()
        return served.question if served is not None else None

    async def find(self) -> Asker | None:
        """Return who asks for what the current task serves; None when that is not known within a moment."""
        served = _SERVED.get()
        if served is None:
            return None
        if served.answer is None:
            served.answer = self._waiting[served.question.number] = asyncio.get_running_loop().create_future()
            with suppress(TimeoutError, OSError):
                async with asyncio.timeout(_ANSWER_SECONDS):
                    await self._ask(served.question)
                    await asyncio.shield(served.answer)
        return served.answer.result() if served.answer.done() else None

    def answer(self, number: int, asker: Asker | None) -> None:
        """Take the worker's answer; it may come too late."""
        if (waiting := self._waiting.pop(number, None)) is not None:
            waiting.set_result(asker)
