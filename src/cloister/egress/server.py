"""What runs in the egress process: it does as the control socket says, and serves every sandbox's listeners."""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any

from msgspec.json import Decoder

from cloister.egress.asking import Asking
from cloister.egress.control import ControlChannel
from cloister.egress.doors import serve_door
from cloister.egress.gate import Gate
from cloister.egress.intercept import Interception
from cloister.egress.messages import (
    Answer,
    Begin,
    Called,
    Close,
    Done,
    EgressSettings,
    Ended,
    Open,
    Ordered,
    Question,
    Ready,
    Recorded,
    Who,
)
from cloister.egress.names import NameServer
from cloister.egress.proxy import serve_client
from cloister.egress.redirected import own_address, seen_by_peer
from cloister.egress.stand_ins import StandIns
from cloister.egress.stream import Stream
from cloister.egress.transparent import serve_caught
from cloister.egress.watch import Watched, watch
from cloister.model.asker import Asker, Connection
from cloister.model.model_door import ModelCall
from cloister.model.network import EgressEnd, EgressRecord
from cloister.protocols import Listeners

_BREATH_SECONDS = 0.05


ORDERED = Decoder(list[Ordered])


async def serve(control: ControlChannel[Ordered]) -> None:
    """Serve until the worker closes the control socket."""
    first = await control.receive()
    if first is None:
        return
    begin, _ = first
    assert isinstance(begin, Begin), "it comes first"
    server = _Server(control, begin.settings)
    await control.send(Ready())
    while (received := await control.receive()) is not None:
        await server.obey(*received)


class _Server:
    def __init__(self, control: ControlChannel[Ordered], settings: EgressSettings) -> None:
        self._control = control
        self._settings = settings
        self._tls = Interception(settings.authority) if settings.authority is not None else None
        self._served: dict[str, _Served] = {}
        self._asking = Asking(self._ask)

    async def obey(self, order: Ordered, descriptors: Sequence[int]) -> None:
        """Do what the worker asks. Whatever goes wrong ends this process, and with it all that is open."""
        match order:
            case Open():
                await self._open(order, descriptors)
                await self._control.send(Done(order.ticket))
            case Close():
                served = self._served.pop(order.name, None)
                if served is not None:
                    await served.shut()
                await self._control.send(Done(order.ticket))
            case Answer():
                self._asking.answer(order.number, order.asker)
            case Begin():
                raise ValueError("it has begun")

    async def _open(self, order: Open, descriptors: Sequence[int]) -> None:
        served = self._served.get(order.name)
        if served is None:
            gate = Gate(order.name, order.policy, self._settings, self, order.grants, tls=self._tls)
            served = self._served[order.name] = _Served(gate, self._asking)
        else:
            await served.gate.replace(order.policy, order.grants)
        await served.listen(order.listeners.assign(descriptors))

    async def tell(self, record: EgressRecord) -> None:
        """Report a decision about what the current task serves. Waits while the worker is slow."""
        question = self._asking.question() if record.command is None else None
        recorded = Recorded(record, question)
        if record.decision.allowed:
            await self._control.say(recorded)
        else:
            await self._control.send(recorded)  # before the sandbox reads it

    def tell_end(self, end: EgressEnd) -> None:
        """Report an end, without waiting, and without waking the worker for it alone."""
        self._control.say_later(Ended(end))

    def tell_call(self, call: ModelCall) -> None:
        """Report a call of a model, without waiting."""
        self._control.say_soon(Called(call))

    async def find_asker(self) -> Asker | None:
        """Return who asks for what the current task serves; None when that is not known within a moment."""
        return await self._asking.find()

    async def _ask(self, question: Question) -> None:
        await self._control.send(Who(question))


Serve = Callable[[Gate, Stream], Awaitable[None]]
"""Serves one connection of a sandbox to its end. Raises nothing but cancellation."""


class _Places:
    """How many more connections a sandbox may have. One listener after the other takes those that get free."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._freed = asyncio.Event()

    async def take(self) -> None:
        """Return when one was free, and is not any more."""
        while not self._free:
            self._freed.clear()
            await self._freed.wait()
        self._free -= 1

    def give_back(self) -> None:
        """Let another connection have it."""
        self._free += 1
        self._freed.set()


class _Served:
    """The listeners of one sandbox, and the connections that came in through them."""

    def __init__(self, gate: Gate, asking: Asking) -> None:
        self.gate = gate
        self._asking = asking
        self._stand_ins = StandIns()
        self._names = NameServer(self._stand_ins)
        self._accepting: list[asyncio.Task[None]] = []
        self._connections: set[asyncio.Task[None]] = set()
        self._places = _Places(gate.settings.connections)

    async def listen(self, listeners: Listeners) -> None:
        """Accept from these listeners instead of the former ones, which are closed when this returns."""
        await _end(self._accepting)
        self._accepting = [self._accept_from(descriptor, serve_client) for descriptor in listeners.proxy]
        serve_any = partial(serve_caught, self._stand_ins)
        self._accepting += [
            self._accept_from(descriptor, serve_any, redirected=True) for descriptor in listeners.transparent
        ]
        self._accepting += [self._answer_names_at(descriptor) for descriptor in listeners.names]
        for port, descriptors in listeners.doors.items():
            serve = partial(serve_door, port)
            self._accepting += [self._accept_from(descriptor, serve) for descriptor in descriptors]

    def _answer_names_at(self, descriptor: int) -> asyncio.Task[None]:
        bound = socket.socket(fileno=descriptor)
        if bound.type == socket.SOCK_DGRAM:
            return _owning(bound, self._names.answer_datagrams(bound))
        return _owning(bound, self._accept(bound, self._names.serve_client))

    def _accept_from(self, descriptor: int, serve: Serve, *, redirected: bool = False) -> asyncio.Task[None]:
        listener = socket.socket(fileno=descriptor)
        return _owning(listener, self._accept(listener, serve, redirected=redirected))

    async def shut(self) -> None:
        """Cut all connections, and forget the listeners."""
        await _end([*self._accepting, *self._connections])

    async def _accept(self, listener: socket.socket, serve: Serve, *, redirected: bool = False) -> None:
        listener.setblocking(False)
        with contextlib.closing(watch(listener)) as watched:
            own = None if redirected else own_address(listener)
            while True:
                await self._places.take()
                connection, peer = await self._next(listener, watched)
                seen = seen_by_peer(connection, *peer[:2], own=own, redirected=redirected)
                task = asyncio.create_task(self._serve(connection, seen, serve))
                self._connections.add(task)
                task.add_done_callback(partial(self._leave, connection))

    async def _next(self, listener: socket.socket, watched: Watched) -> tuple[socket.socket, Any]:
        try:
            while True:
                try:
                    return listener.accept()
                except BlockingIOError:
                    await watched.readable()
                except OSError:  # out of descriptors, or the client has gone already (accept(2))
                    await asyncio.sleep(_BREATH_SECONDS)
        except asyncio.CancelledError:
            self._places.give_back()
            raise

    async def _serve(self, connection: socket.socket, seen: Connection, serve: Serve) -> None:
        client = Stream(connection)
        number = self._asking.begin(self.gate.name, seen)
        try:
            await serve(self.gate, client)
        finally:
            self._asking.end(number)
            client.close()

    def _leave(self, connection: socket.socket, task: asyncio.Task[None]) -> None:
        if connection.fileno() != -1:  # a task that is cancelled before it begins runs no `finally`
            connection.close()
        self._connections.discard(task)
        self._places.give_back()


def _owning(owned: socket.socket, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Do the work, and close the socket after it, also when it is cancelled before it begins."""
    task = asyncio.create_task(work)
    task.add_done_callback(lambda _: owned.close())
    return task


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
