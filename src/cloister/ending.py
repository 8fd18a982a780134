"""How an attempt is asked to end while its agent works, and how the phases hear of it."""

from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import anyio

from cloister.errors import CloisterError
from cloister.model.cancellation import Cancellation

T = TypeVar("T")


class Ending:
    """One attempt's end before its time, as its worker asks for it."""

    def __init__(self) -> None:
        self.asked: Cancellation | None = None
        """What was asked for last, and is heeded."""
        self._changed = anyio.Event()
        self._is_heeded = False
        self._optional: anyio.CancelScope | None = None

    def ask(self, cancellation: Cancellation) -> bool:
        """Ask the attempt to end by itself. False when it cannot: then it has to be broken off.

        May be called again and again; an attempt that ends gently is broken off by one that asks for nothing gentle.
        """
        if not (self._is_heeded and cancellation.is_gentle):
            return False
        if self.asked is None:
            self.asked = cancellation
            self._changed.set()
            if self._optional is not None:
                self._optional.cancel()
        return True

    async def wait(self) -> Cancellation:
        """Return once the end is asked for."""
        await self._changed.wait()
        assert self.asked is not None
        return self.asked

    @contextmanager
    def heeded(self) -> Iterator[None]:
        """Whoever runs inside looks at `asked`, and ends in time."""
        self._is_heeded = True
        try:
            yield
        finally:
            self._is_heeded = False

    @contextmanager
    def cuts_short(self) -> Iterator[None]:
        """Cancel what runs inside when the end is asked for."""
        with anyio.CancelScope() as self._optional:
            if self.asked is not None:
                self._optional.cancel()
            yield
        self._optional = None


async def run_beside(work: Callable[[], Coroutine[Any, Any, T]], *others: Callable[[], Coroutine[Any, Any, None]]) -> T:
    """Return what `work` returns, or raise what it raises; the others run for as long as it does."""
    failure: CloisterError | None = None
    result: T
    async with anyio.create_task_group() as group:
        for other in others:
            group.start_soon(other)
        try:
            result = await work()
        except CloisterError as error:  # raised below, because the group would wrap it
            failure = error
        group.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return result
