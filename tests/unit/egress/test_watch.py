"""Readiness of sockets, each change of which is told once."""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Iterator

import pytest

from cloister.egress.loop import EgressLoop
from cloister.egress.watch import watch


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    near.setblocking(False)
    far.setblocking(False)
    with near, far:
        yield near, far


Pair = tuple[socket.socket, socket.socket]


async def within_a_moment(waiting: Awaitable[None]) -> bool:
    """Whether it returned."""
    try:
        async with asyncio.timeout(0.2):
            await waiting
    except TimeoutError:
        return False
    return True


def run(loop: str, work: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await work()

    with asyncio.Runner(loop_factory=EgressLoop if loop == "own" else None) as runner:
        runner.run(main())


@pytest.mark.parametrize("loop", ["own", "asyncio"])
def test_what_comes_is_told_and_what_was_told_is_not_told_again(pair: Pair, loop: str) -> None:
    near, far = pair

    async def work() -> None:
        watched = watch(near)
        far.send(b"1")
        assert await within_a_moment(watched.readable())
        assert not await within_a_moment(watched.readable()), "though nothing was read"
        far.send(b"2")
        assert await within_a_moment(watched.readable())
        assert near.recv(10) == b"12"

    run(loop, work)


async def test_a_reader_hears_of_what_came_while_nobody_waited(pair: Pair) -> None:
    near, far = pair
    watched = watch(near)
    far.send(b"early")
    await asyncio.sleep(0.05)
    came = asyncio.Event()
    watched.read_with(came.set)
    async with asyncio.timeout(5):
        await came.wait()


async def test_the_peers_end_is_seen_before_it_is_read(pair: Pair) -> None:
    near, far = pair
    watched = watch(near)
    far.send(b"last words")
    await watched.readable()
    assert not watched.is_ending
    far.shutdown(socket.SHUT_WR)
    await watched.readable()
    assert watched.is_ending
    assert near.recv(100) == b"last words"


async def test_a_socket_that_takes_no_more_is_waited_for_until_it_does_or_for_so_long(pair: Pair) -> None:
    near, far = pair
    watched = watch(near)
    with pytest.raises(BlockingIOError):
        while True:
            near.send(bytes(1 << 20))
    with pytest.raises(TimeoutError):
        await watched.writable(seconds=0.1)
    waiting = asyncio.create_task(watched.writable())
    while not waiting.done():
        await asyncio.sleep(0)
        try:
            far.recv(1 << 20)
        except BlockingIOError:
            await asyncio.sleep(0.01)
    assert near.send(b"more") == 4


async def test_a_reader_that_fails_costs_no_other_what_it_is_told(pair: Pair) -> None:
    near, far = pair
    failed: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failed.append(context["exception"]))
    came = asyncio.Event()
    watch(near).read_with(lambda: 1 // 0)  # type: ignore[arg-type, return-value]
    watch(far).read_with(came.set)
    near.send(b"x")
    far.send(b"x")
    async with asyncio.timeout(5):
        await came.wait()
    assert [type(error) for error in failed] == [ZeroDivisionError]


async def test_what_is_let_go_can_be_watched_again_though_another_process_has_it_too(pair: Pair) -> None:
    near, far = pair
    shared = os.dup(near.fileno())  # as a listener is the worker's as well
    try:
        first = watch(near)
        waiting = asyncio.create_task(first.readable())
        await asyncio.sleep(0)
        first.close()
        first.close()
        assert await within_a_moment(asyncio.shield(waiting)), "it goes on, and sees that"
        again = watch(near)
        far.send(b"x")
        assert await within_a_moment(again.readable())
    finally:
        os.close(shared)
