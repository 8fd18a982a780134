"""The server in the egress process under very many short connections: whoever asks for what is refused hears so."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from cloister.egress.control import ControlChannel, control_pair
from cloister.egress.loop import EgressLoop
from cloister.egress.messages import Answer, Begin, Done, EgressSettings, ListenerCounts, Open, Ready, Who
from cloister.egress.said import SAID
from cloister.egress.server import ORDERED, serve
from cloister.model.network import NetworkMode, NetworkPolicy
from cloister.model.phase import Phase

CONNECT = b"CONNECT other.org:443 HTTP/1.1\r\nHost: other.org:443\r\n\r\n"
GET = b"GET http://other.org/ HTTP/1.1\r\nHost: other.org\r\n\r\n"
POST = b"POST http://other.org/ HTTP/1.1\r\nHost: other.org\r\nContent-Length: 300000\r\n\r\n" + bytes(300_000)
RESET = struct.pack("ii", 1, 0)
AT_ONCE = 60


class Serving:
    """A sandbox's listener, and the worker's end of the control socket."""

    def __init__(self, channel: "ControlChannel[object]", listener: socket.socket) -> None:
        self._channel = channel
        self._listener = listener
        self.address: tuple[str, int] = listener.getsockname()
        self.slow_seconds = 0.0
        self.when_asked: Callable[[], None] = lambda: None
        self._tickets = 0

    async def open(self, phase: Phase = Phase.AGENT, allow: tuple[str, ...] = ("example.com",)) -> None:
        policy = NetworkPolicy(mode=NetworkMode.LIMITED, phase=phase, environment="web", allow=allow)
        self._tickets += 1
        order = Open(self._tickets, "t-1", policy, (), ListenerCounts(1, 0, 0, ()))
        await self._channel.send(order, (self._listener.fileno(),))

    async def hear(self, opened: asyncio.Event) -> None:
        while (received := await self._channel.receive()) is not None:
            match received[0]:
                case Done():
                    opened.set()
                case Who(question=question):
                    self.when_asked()
                    await asyncio.sleep(self.slow_seconds)
                    await self._channel.send(Answer(question.number, None))

    async def ask(self, request: bytes, *, pieces: int = 1, half_close: bool = False) -> bytes:
        """Send, in some pieces, and read to the end. ConnectionError when the answer was lost to a reset."""
        reader, writer = await asyncio.open_connection(*self.address)
        step = -(-len(request) // pieces)
        with contextlib.suppress(ConnectionError):  # it need not read all of it
            for at in range(0, len(request), step):
                writer.write(request[at : at + step])
                await writer.drain()
                await asyncio.sleep(0)
            if half_close:
                writer.write_eof()
        answer = await reader.read()
        writer.close()
        return answer

    async def vanish(self, request: bytes) -> None:
        """Send, and reset the connection at once."""
        end = socket.create_connection(self.address)
        end.send(request)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        end.close()


@asynccontextmanager
async def serving() -> AsyncIterator[Serving]:
    settings = EgressSettings(decisions_at_once=100_000)
    ours, theirs = control_pair()
    former = asyncio.all_tasks()
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        channel: ControlChannel[object] = ControlChannel(ours, SAID)  # type: ignore[arg-type]
        server = asyncio.create_task(serve(ControlChannel(theirs, ORDERED)))
        server.add_done_callback(lambda _: theirs.close())
        await channel.send(Begin(settings))
        received = await channel.receive()
        assert received is not None and isinstance(received[0], Ready)
        served, opened = Serving(channel, listener), asyncio.Event()
        await served.open()
        hearing = asyncio.create_task(served.hear(opened))
        await opened.wait()
        try:
            yield served
        finally:
            hearing.cancel()
            channel.close()
            await asyncio.gather(server, hearing, return_exceptions=True)
            for task in asyncio.all_tasks() - former:
                task.cancel()


async def ask_many(served: Serving, count: int) -> list[bytes]:
    places = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> bytes:
        async with places:
            if number % 7 == 0:
                await served.vanish(GET)
            request = (CONNECT, GET, CONNECT + b"\x16too early")[number % 3]
            return await served.ask(request, pieces=1 + number % 4, half_close=number % 5 == 0)

    return await asyncio.gather(*map(one, range(count)))


@pytest.mark.parametrize("loop", ["own", "asyncio"])
def test_every_one_of_very_many_is_told(loop: str) -> None:
    async def work() -> None:
        async with serving() as served, asyncio.timeout(60):
            answers = await ask_many(served, 700)
        assert [answer for answer in answers if not answer.startswith(b"HTTP/1.1 403 ")] == []

    with asyncio.Runner(loop_factory=EgressLoop if loop == "own" else None) as runner:
        runner.run(work())


async def test_who_sends_a_body_that_nobody_reads_is_told() -> None:
    async with serving() as served, asyncio.timeout(30):
        answers = await asyncio.gather(*(served.ask(POST) for _ in range(40)))
    assert [answer[:12] for answer in answers] == [b"HTTP/1.1 403"] * 40


async def test_who_is_refused_as_the_policy_changes_is_told_nevertheless() -> None:
    async with serving() as served, asyncio.timeout(30):
        served.slow_seconds = 0.1
        asking = [asyncio.create_task(served.ask(request)) for request in (CONNECT, GET)]
        await asyncio.sleep(0.05)
        await served.open(Phase.SETUP)
        answers = await asyncio.gather(*asking)
    assert [answer[:12] for answer in answers] == [b"HTTP/1.1 403"] * 2


async def test_who_is_refused_inside_a_tunnel_as_the_policy_closes_it_is_told_nevertheless() -> None:
    tunnel = b"CONNECT example.com:80 HTTP/1.1\r\nHost: example.com:80\r\n\r\n"
    async with serving() as served, asyncio.timeout(30):
        served.slow_seconds = 0.1
        asked = asyncio.Event()
        served.when_asked = asked.set
        asking = asyncio.create_task(served.ask(tunnel + b"TRACE / HTTP/1.1\r\nHost: example.com\r\n\r\n"))
        await asked.wait()
        await served.open(allow=("other.org",))
        answer = await asking
    established, _, refusal = answer.partition(b"\r\n\r\n")
    assert established.startswith(b"HTTP/1.1 200 ")
    assert refusal.startswith(b"HTTP/1.1 403 ")
    assert b"TRACE" in refusal


async def test_what_breaks_inside_a_tunnel_to_plain_http_is_reset_and_not_ended() -> None:
    """A body that ends with the connection would look whole."""
    async with serving() as served, asyncio.timeout(30):
        with socket.create_connection(served.address) as client:
            client.sendall(b"CONNECT example.com:80 HTTP/1.1\r\nHost: example.com:80\r\n\r\n")
            assert (await asyncio.to_thread(client.recv, 1000)).startswith(b"HTTP/1.1 200 ")
            client.sendall(b"GET / HTTP/1.1\r\nHost: exam")
            client.shutdown(socket.SHUT_WR)
            with pytest.raises(ConnectionResetError):
                await asyncio.to_thread(client.recv, 1000)
