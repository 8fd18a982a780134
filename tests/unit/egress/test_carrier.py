"""One direction of a tunnel, with and without the kernel's help."""

import asyncio
import contextlib
import errno
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from cloister.egress.carrier import Carrier
from cloister.egress.loop import EgressLoop
from cloister.egress.pipes import MOST_PIPES, Pipe, PipePool, PipeShare
from cloister.egress.stream import Stream

MUCH = bytes(range(256)) * 32 * 1024
RESET = struct.pack("ii", 1, 0)


class NoSplice(Pipe):
    """A kernel that cannot splice these sockets."""

    def fill(self, source: int) -> int:
        raise OSError(errno.EINVAL, "splice")


def no_descriptors() -> Pipe:
    raise OSError(errno.EMFILE, "pipe2")


@dataclass
class Way:
    """A writer's socket, the carrier between, and a reader's socket."""

    writer: socket.socket
    reader: socket.socket
    carrying: "asyncio.Task[None]"
    counted: list[int]

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.writer, data)

    async def receive_all(self) -> bytes:
        received = b""
        while more := await asyncio.get_running_loop().sock_recv(self.reader, 1 << 20):
            received += more
        return received

    async def receive(self, count: int) -> bytes:
        received = b""
        while len(received) < count:
            received += await asyncio.get_running_loop().sock_recv(self.reader, count - len(received))
        return received


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    near.setblocking(False)
    far.setblocking(False)
    return near, far


async def carry(source: socket.socket, sink: socket.socket, count: Callable[[int], None], pipes: PipePool) -> None:
    """Carry to the end; raise what failed."""
    ended: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
    carrier = Carrier(Stream(source), Stream(sink), count=count, ended=ended.set_result, pipes=pipes)
    try:
        carrier.start()
        if failure := await ended:
            raise failure
    finally:
        carrier.stop()


@asynccontextmanager
async def opened(pool: PipePool) -> AsyncIterator[Way]:
    (writer, source), (sink, reader) = tcp_pair(), tcp_pair()
    counted: list[int] = []
    with writer, source, sink, reader:
        carrying = asyncio.create_task(carry(source, sink, counted.append, pool))
        try:
            yield Way(writer, reader, carrying, counted)
        finally:
            carrying.cancel()
            await asyncio.wait([carrying])


def pipes_of_this_process() -> int:
    found = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found += str(descriptor.readlink()).startswith("pipe:")
    return found


@pytest.mark.parametrize(
    ("most", "make"),
    [(MOST_PIPES, Pipe), (0, Pipe), (MOST_PIPES, NoSplice), (MOST_PIPES, no_descriptors)],
    ids=["spliced", "all pipes taken", "the kernel cannot", "no descriptors"],
)
async def test_much_arrives_whole_with_its_end_and_is_counted(most: int, make: Callable[[], Pipe]) -> None:
    async with opened(PipePool(most=most, make=make)) as way:
        reading = asyncio.create_task(way.receive_all())
        await way.send(b"small")
        await way.send(MUCH)
        way.writer.shutdown(socket.SHUT_WR)
        assert await reading == b"small" + MUCH
        await way.carrying
        assert sum(way.counted) == len(MUCH) + 5


async def test_much_goes_through_a_pipe_and_little_does_not() -> None:
    made: list[Pipe] = []

    def make() -> Pipe:
        made.append(Pipe())
        return made[-1]

    async with opened(PipePool(make=make)) as way:
        for _ in range(100):
            await way.send(b"x")
            await way.receive(1)
        assert made == []
        await asyncio.gather(way.send(MUCH), way.receive(len(MUCH)))
        assert len(made) == 1


async def test_idle_directions_hold_no_pipes() -> None:
    before = pipes_of_this_process()
    pool = PipePool()
    async with contextlib.AsyncExitStack() as ways:
        for _ in range(20):
            way = await ways.enter_async_context(opened(pool))
            await asyncio.gather(way.send(MUCH), way.receive(len(MUCH)))
        assert pipes_of_this_process() - before <= 2, "one, for the next who has something"


async def test_what_a_stuck_direction_holds_is_never_anothers() -> None:
    pool = PipePool()
    async with opened(pool) as stuck:
        sending = asyncio.create_task(stuck.send(b"secret" * 4_000_000))
        await until_stalled(stuck)
        sending.cancel()
    async with opened(pool) as other:
        received, _ = await asyncio.gather(other.receive(len(MUCH)), other.send(MUCH))
        assert received == MUCH


async def until_stalled(way: Way) -> None:
    """Return when nothing is taken any more: everything between is full."""
    last = -1
    while (now := sum(way.counted)) == 0 or now != last:
        last = now
        await asyncio.sleep(0.1)


async def test_a_pipe_that_is_not_empty_is_closed_when_it_comes_back() -> None:
    pool = PipePool(most=1)
    writer, source = tcp_pair()
    with writer, source:
        writer.send(b"secret")
        await asyncio.sleep(0.05)
        pipe = pool.take()
        assert pipe is not None
        assert pipe.fill(source.fileno()) == 6
        assert pool.take() is None, "the only one is taken"
        pool.give_back(pipe)
        fresh = pool.take()
        assert fresh is not None
        assert fresh is not pipe
        pool.give_back(fresh)
        assert pool.take() is fresh


def taken(pipes: PipePool | PipeShare) -> list[Pipe]:
    """All that it gives."""
    return list(iter(pipes.take, None))


def test_one_sandbox_never_takes_all_pipes() -> None:
    pool = PipePool(most=8)
    greedy, second, third = PipeShare(pool), PipeShare(pool), PipeShare(pool)
    held = taken(greedy)
    assert [len(held), len(taken(second)), len(taken(third))] == [4, 2, 1]
    for pipe in held:
        greedy.give_back(pipe)
    assert len(taken(third)) == 2, "what was given back is there for others"
    assert len(taken(PipePool(most=8))) == 8, "without shares the first takes all"


async def test_what_came_before_a_reset_is_delivered_and_the_reset_told() -> None:
    async with opened(PipePool()) as way:
        await way.send(b"x" * 1000)
        way.writer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        way.writer.close()
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(way.carrying, 5)
        assert await way.receive(1000) == b"x" * 1000


async def test_a_reader_that_goes_while_much_waits_is_told() -> None:
    async with opened(PipePool()) as way:
        sending = asyncio.create_task(way.send(MUCH * 4))
        await way.receive(1)
        way.reader.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        way.reader.close()
        with pytest.raises(OSError, match=r"reset|pipe"):
            await asyncio.wait_for(way.carrying, 5)
        sending.cancel()


async def test_a_stream_is_closed_in_order_twice_without_harm() -> None:
    near, far = tcp_pair()
    with far:
        stream = Stream(near)
        far.shutdown(socket.SHUT_WR)
        await stream.close_in_order()
        await stream.close_in_order()
        assert await asyncio.get_running_loop().sock_recv(far, 10) == b""


def test_a_reset_that_waits_behind_bytes_is_seen_in_the_loop_of_the_egress_process() -> None:
    async def carry_what_came_before() -> None:
        (writer, source), (sink, reader) = tcp_pair(), tcp_pair()
        with source, sink, reader:
            writer.send(b"x" * 1000)
            writer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            writer.close()
            with pytest.raises(ConnectionResetError):
                await asyncio.wait_for(carry(source, sink, lambda _: None, PipePool()), 5)
            assert await asyncio.get_running_loop().sock_recv(reader, 2000) == b"x" * 1000

    with asyncio.Runner(loop_factory=EgressLoop) as runner:
        runner.run(carry_what_came_before())
