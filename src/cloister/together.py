"""Work that many ask for at once, and that is done once for all of them."""

from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

import anyio

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class Together(Generic[K, T]):
    """Does what is asked for under a key; who asks while it is being done gets what the next time brings.

    So nobody gets an answer that was begun before they asked, and two are never under way at once.
    """

    def __init__(self) -> None:
        self._under_way: dict[K, _Time[T]] = {}
        self._next: dict[K, _Time[T]] = {}

    async def get(self, key: K, work: Callable[[], Awaitable[T]]) -> T:
        """Return what `work`, ours or that of another who asked for the same, returns; raise what it raises."""
        while True:
            time = self._next.get(key)
            if time is None:
                return await self._lead(key, work)
            await time.ended.wait()
            if time.failure is not None:
                raise time.failure
            if time.answer:
                return time.answer[0]
            # who led was cancelled

    async def _lead(self, key: K, work: Callable[[], Awaitable[T]]) -> T:
        time = self._next[key] = _Time()
        try:
            while (before := self._under_way.get(key)) is not None:
                await before.ended.wait()
            del self._next[key]
            self._under_way[key] = time
            answer = await work()
            time.answer.append(answer)
        except Exception as error:
            time.failure = error
            raise
        finally:
            for times in (self._next, self._under_way):
                if times.get(key) is time:
                    del times[key]
            time.ended.set()
        return answer


class _Time(Generic[T]):
    def __init__(self) -> None:
        self.ended = anyio.Event()
        self.answer: list[T] = []
        self.failure: Exception | None = None
