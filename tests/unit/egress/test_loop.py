"""The egress process's event loop does what every event loop does, whatever comes in at its sockets."""

import asyncio
import contextvars
import signal
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from cloister.egress.loop import EgressLoop
from cloister.egress.watch import watch

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    near, far = socket.socketpair()
    near.setblocking(False)
    with near, far:
        yield near, far


def run(work: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30):
            await work

    with asyncio.Runner(loop_factory=EgressLoop) as runner:
        runner.run(bounded())


def test_callbacks_come_in_their_order_those_of_a_turn_before_those_that_they_ask_for() -> None:
    called: list[str] = []

    async def work() -> None:
        loop = asyncio.get_running_loop()
        loop.call_soon(lambda: (called.append("a"), loop.call_soon(called.append, "c")))
        loop.call_soon(called.append, "never").cancel()
        loop.call_soon(called.append, "b")
        await asyncio.sleep(0)
        assert called == ["a", "b"]
        await asyncio.sleep(0)
        assert called == ["a", "b", "c"]

    run(work())


def test_a_callback_runs_in_the_context_it_was_asked_for_in() -> None:
    name: contextvars.ContextVar[str] = contextvars.ContextVar("name")
    seen: list[str] = []

    async def work() -> None:
        other = contextvars.copy_context()
        other.run(name.set, "other")
        name.set("own")
        loop = asyncio.get_running_loop()
        loop.call_soon(lambda: seen.append(name.get()))
        loop.call_soon(lambda: seen.append(name.get()), context=other)
        await asyncio.sleep(0)

    run(work())
    assert seen == ["own", "other"]


def test_a_callback_that_fails_is_reported_and_costs_no_other_its_turn() -> None:
    failed: list[str] = []
    called: list[str] = []

    async def work() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: failed.append(type(context["exception"]).__name__))
        loop.call_soon(lambda: 1 // 0)
        loop.call_soon(called.append, "next")
        await asyncio.sleep(0)

    run(work())
    assert (failed, called) == (["ZeroDivisionError"], ["next"])


def test_another_thread_wakes_it() -> None:
    async def work() -> None:
        loop = asyncio.get_running_loop()
        came = asyncio.Event()
        thread = threading.Thread(target=loop.call_soon_threadsafe, args=(came.set,))
        loop.call_soon(thread.start)
        await came.wait()
        assert await asyncio.to_thread(lambda: 7) == 7

    run(work())


def test_a_signal_wakes_it() -> None:
    async def work() -> None:
        came = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR2, came.set)
        asyncio.get_running_loop().call_later(0.01, signal.raise_signal, signal.SIGUSR2)
        await came.wait()

    run(work())


def test_a_socket_that_nobody_watches_for_us_is_the_loops_to_tell_of(pair: Pair) -> None:
    near, far = pair

    async def work() -> None:
        loop = asyncio.get_running_loop()
        far.send(b"x")
        assert await loop.sock_recv(near, 10) == b"x"
        far.close()
        assert await loop.sock_recv(near, 10) == b""

    run(work())


def echo(near: socket.socket) -> Callable[[], None]:
    """A reader that asks nothing of the loop, as a tunnel's does not."""

    def read() -> None:
        near.send(near.recv(100))

    return read


def test_who_watches_a_socket_is_told_without_the_loops_turn(pair: Pair) -> None:
    near, far = pair
    exchanged = 0

    def exchange() -> None:
        nonlocal exchanged
        for _ in range(100):
            far.send(b"x")
            exchanged += far.recv(1) == b"x"

    async def work() -> None:
        watch(near).read_with(echo(near))
        await asyncio.to_thread(exchange)

    run(work())
    assert exchanged == 100


def test_a_timer_that_is_set_between_exchanges_rings_though_they_never_end(pair: Pair) -> None:
    near, far = pair
    done = threading.Event()

    def exchange() -> None:
        while not done.is_set():
            far.send(b"x")
            far.recv(1)

    async def work() -> None:
        watch(near).read_with(echo(near))
        exchanging = asyncio.to_thread(exchange)
        task = asyncio.create_task(exchanging)
        for _ in range(3):
            await asyncio.sleep(0.01)
        done.set()
        await task

    try:
        run(work())
    finally:
        done.set()


def test_a_timer_that_a_reader_sets_rings_though_nothing_else_comes(pair: Pair) -> None:
    near, far = pair

    async def work() -> None:
        loop = asyncio.get_running_loop()
        rung = asyncio.Event()
        watch(near).read_with(lambda: loop.call_later(0.01, rung.set) and None)
        far.send(b"x")
        await rung.wait()

    run(work())


def test_a_timer_rings_though_callbacks_ask_for_each_other_for_ever() -> None:
    async def work() -> None:
        loop = asyncio.get_running_loop()

        def again() -> None:
            if not rung.is_set():
                loop.call_soon(again)

        rung = asyncio.Event()
        again()
        loop.call_later(0.01, rung.set)
        await rung.wait()

    run(work())


def test_it_can_be_stopped_and_goes_on_where_it_was() -> None:
    called: list[str] = []
    loop = EgressLoop()
    try:
        loop.call_soon(loop.stop)
        loop.call_soon(loop.call_soon, called.append, "later")
        loop.run_forever()
        assert called == []
        loop.call_soon(loop.stop)
        loop.run_forever()
        assert called == ["later"]
    finally:
        loop.close()
