"""What runs in the egress process: it does as the control socket says, and serves every sandbox's listeners."""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any

from cloister.egress.asking import Asking
from cloister.egress.control import ControlChannel
from cloister.egress.doors import serve_door
from cloister.egress.gate import Gate
from cloister.egress.intercept import Interception
from cloister.egress.messages import (
    Question,
    end_to_json,
    json_to_asker,
    json_to_grant,
    json_to_listeners,
    json_to_policy,
    json_to_settings,
    question_to_json,
    record_to_json,
)
from cloister.egress.names import NameServer
from cloister.egress.proxy import serve_client
from cloister.egress.stand_ins import StandIns
from cloister.egress.stream import Stream
from cloister.egress.transparent import serve_caught
from cloister.model.network import EgressEnd, EgressRecord, NetworkPolicy
from cloister.model.secret import Grant
from cloister.protocols import Listeners

_BREATH_SECONDS = 0.05


async def serve(control: ControlChannel) -> None:
    """Serve until the worker closes the control socket. The first message holds the settings."""
    first = await control.receive()
    if first is None:
        return
    server = _Server(control, first[0])
    await control.send({"kind": "ready"})
    while (received := await control.receive()) is not None:
        message, descriptors = received
        if message["kind"] == "asker":
            server.asking.answer(message["number"], json_to_asker(message["asker"]))
        else:
            await server.obey(message, descriptors)
            await control.send({"kind": "done", "ticket": message["ticket"]})


class _Server:
    def __init__(self, control: ControlChannel, settings: dict[str, Any]) -> None:
        self._control = control
        self._settings = json_to_settings(settings)
        authority = self._settings.authority
        self._tls = Interception(authority) if authority is not None else None
        self._served: dict[str, _Served] = {}
        self.asking = Asking(self._ask)

    async def obey(self, message: dict[str, Any], descriptors: Sequence[int]) -> None:
        """Do what the worker asks. Whatever goes wrong ends this process, and with it all that is open."""
        name = message["name"]
        match message["kind"]:
            case "open":
                listeners = json_to_listeners(message["listeners"], descriptors)
                grants = [json_to_grant(grant) for grant in message["grants"]]
                await self._open(name, json_to_policy(message["policy"]), grants, listeners)
            case "close":
                served = self._served.pop(name, None)
                if served is not None:
                    await served.shut()
            case kind:
                raise ValueError(f"unknown control message {kind!r}")

    async def _open(self, name: str, policy: NetworkPolicy, grants: Sequence[Grant], listeners: Listeners) -> None:
        served = self._served.get(name)
        if served is None:
            gate = Gate(name, policy, self._settings, self._report, grants, tls=self._tls, find_asker=self.asking.find)
            served = self._served[name] = _Served(gate, self.asking)
        else:
            await served.gate.replace(policy, grants)
        await served.listen(listeners)

    async def _report(self, told: EgressRecord | EgressEnd) -> None:
        match told:
            case EgressRecord():
                question = self.asking.question() if told.command is None else None
                asked = question_to_json(question) if question is not None else None
                await self._control.send({"kind": "record", "record": record_to_json(told), "question": asked})
            case EgressEnd():
                await self._control.send({"kind": "end", "end": end_to_json(told)})

    async def _ask(self, question: Question) -> None:
        await self._control.send({"kind": "who", "question": question_to_json(question)})


Serve = Callable[[Gate, Stream], Awaitable[None]]
"""Serves one connection of a sandbox to its end. Raises nothing but cancellation."""


class _Served:
    """The listeners of one sandbox, and the connections that came in through them."""

    def __init__(self, gate: Gate, asking: Asking) -> None:
        self.gate = gate
        self._asking = asking
        self._stand_ins = StandIns()
        self._names = NameServer(self._stand_ins)
        self._accepting: list[asyncio.Task[None]] = []
        self._connections: set[asyncio.Task[None]] = set()
        self._places = asyncio.Semaphore(gate.settings.connections)

    async def listen(self, listeners: Listeners) -> None:
        """Accept from these listeners instead of the former ones, which are closed when this returns."""
        await _end(self._accepting)
        self._accepting = [self._accept_from(descriptor, serve_client) for descriptor in listeners.proxy]
        serve_any = partial(serve_caught, self._stand_ins)
        self._accepting += [self._accept_from(descriptor, serve_any) for descriptor in listeners.transparent]
        self._accepting += [self._answer_names_at(descriptor) for descriptor in listeners.names]
        for port, descriptors in listeners.doors.items():
            serve = partial(serve_door, port)
            self._accepting += [self._accept_from(descriptor, serve) for descriptor in descriptors]

    def _answer_names_at(self, descriptor: int) -> asyncio.Task[None]:
        bound = socket.socket(fileno=descriptor)
        if bound.type == socket.SOCK_DGRAM:
            return _owning(bound, self._names.answer_datagrams(bound))
        return _owning(bound, self._accept(bound, self._names.serve_client))

    def _accept_from(self, descriptor: int, serve: Serve) -> asyncio.Task[None]:
        listener = socket.socket(fileno=descriptor)
        return _owning(listener, self._accept(listener, serve))

    async def shut(self) -> None:
        """Cut all connections, and forget the listeners."""
        await _end([*self._accepting, *self._connections])

    async def _accept(self, listener: socket.socket, serve: Serve) -> None:
        listener.setblocking(False)
        while True:
            await self._places.acquire()
            connection = await self._next(listener)
            task = _owning(connection, self._serve(connection, serve))
            self._connections.add(task)
            task.add_done_callback(self._leave)

    async def _next(self, listener: socket.socket) -> socket.socket:
        loop = asyncio.get_running_loop()
        try:
            while True:
                try:
                    connection, _ = await loop.sock_accept(listener)
                except OSError:  # out of descriptors, or the client has gone already (accept(2))
                    await asyncio.sleep(_BREATH_SECONDS)
                else:
                    return connection
        except asyncio.CancelledError:
            self._places.release()
            raise

    async def _serve(self, connection: socket.socket, serve: Serve) -> None:
        with contextlib.closing(Stream(connection)) as client, self._asking.serving(self.gate.name, connection):
            await serve(self.gate, client)

    def _leave(self, task: asyncio.Task[None]) -> None:
        self._connections.discard(task)
        self._places.release()


def _owning(owned: socket.socket, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Do the work, and close the socket after it; a task that is cancelled before it begins runs no `finally`."""
    task = asyncio.create_task(work)
    task.add_done_callback(lambda _: owned.close())
    return task


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
