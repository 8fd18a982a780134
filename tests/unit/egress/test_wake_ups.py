"""Nothing that a socket tells only once is lost: neither to who comes too late, nor to who was called away."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Iterator

import pytest

from cloister.egress.carrier import Carrier
from cloister.egress.pipes import PipePool
from cloister.egress.stream import Stream
from cloister.egress.watch import watch

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def make_pair() -> Iterator[Callable[[], Pair]]:
    with contextlib.ExitStack() as opened:

        def make() -> Pair:
            with socket.create_server(("127.0.0.1", 0)) as listener:
                near = socket.create_connection(listener.getsockname())
                far, _ = listener.accept()
            for end in (near, far):
                end.setblocking(False)
                opened.enter_context(end)
            return near, far

        yield make


async def carried(source: Stream, sink: socket.socket, far_sink: socket.socket) -> bytes:
    """Carry to the source's end, and return what the sink has got."""
    ended: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
    carrier = Carrier(source, Stream(sink), count=lambda _: None, ended=ended.set_result, pipes=PipePool())
    reading = asyncio.create_task(read_to_end(far_sink))
    try:
        carrier.start()
        async with asyncio.timeout(5):
            assert await ended is None
            return await reading
    finally:
        reading.cancel()
        carrier.stop()


async def read_to_end(end: socket.socket) -> bytes:
    data = b""
    while more := await asyncio.get_running_loop().sock_recv(end, 1 << 20):
        data += more
    return data


@pytest.mark.parametrize("size", [10, 200_000], ids=["little", "more than is read at once"])
async def test_a_tunnel_carries_what_came_together_with_its_head_and_the_end_behind_it(
    make_pair: Callable[[], Pair], size: int
) -> None:
    (client, near), (sink, far_sink) = make_pair(), make_pair()
    stream = Stream(near)
    waiting = asyncio.create_task(stream.receive_until(b"\r\n\r\n", limit=1000))
    await asyncio.sleep(0)
    client.setblocking(True)
    client.sendall(b"head\r\n\r\n" + bytes(size))
    client.shutdown(socket.SHUT_WR)
    assert await waiting == b"head\r\n\r\n"
    assert await carried(stream, sink, far_sink) == bytes(size)


async def test_what_came_as_its_reader_was_called_away_is_told_to_the_next_one(make_pair: Callable[[], Pair]) -> None:
    near, far = make_pair()
    watched = watch(near)
    waiting = asyncio.create_task(watched.readable())
    await asyncio.sleep(0)
    far.send(b"x")
    watched._watch.wait()  # the reader was told in the turn in which its clock ran out
    waiting.cancel()
    await asyncio.wait([waiting])
    came = asyncio.Event()
    watched.read_with(came.set)
    async with asyncio.timeout(5):
        await came.wait()


async def test_who_closes_twice_takes_nothing_from_who_has_the_descriptor_by_then(
    make_pair: Callable[[], Pair],
) -> None:
    (old, _), (new, far) = make_pair(), make_pair()
    first = watch(old)
    first.close()
    number = old.detach()
    os.dup2(new.fileno(), number)
    with socket.socket(fileno=number) as reused:
        second = watch(reused)
        first.close()
        far.send(b"x")
        async with asyncio.timeout(5):
            await second.readable()


async def test_one_who_never_stops_sending_leaves_the_others_their_turn(make_pair: Callable[[], Pair]) -> None:
    near, _ = make_pair()
    stream = Stream(near)

    class Endless:
        """A socket that has more whenever it is asked; a fast program is nearly one."""

        def recv_into(self, buffer: memoryview) -> int:
            return len(buffer)

        def __getattr__(self, name: str) -> object:
            return getattr(near, name)

    stream._socket = Endless()  # type: ignore[assignment]

    async def read() -> None:
        for _ in range(10_000):
            await stream.receive()

    reading = asyncio.create_task(read())
    for _ in range(10):
        await asyncio.sleep(0)
    assert not reading.done()
    reading.cancel()
