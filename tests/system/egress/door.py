"""The sandbox's side of the proxy: a listener, and probes that speak raw bytes to it."""

import os
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
from anyio.abc import SocketStream

from cloister.egress.process import EgressProcess
from cloister.model.network import Audit, EgressEnd, EgressRecord, NetworkMode, NetworkPolicy
from cloister.model.phase import Phase
from cloister.model.sandbox import SandboxName
from cloister.model.secret import Grant
from cloister.protocols import Listeners

FIRST = SandboxName("t-1")


@dataclass
class Door:
    """One sandbox's way to the proxy."""

    egress: EgressProcess
    listener: socket.socket
    name: SandboxName = FIRST
    records: list[EgressRecord] = field(default_factory=list)
    ends: list[EgressEnd] = field(default_factory=list)

    async def open(
        self,
        mode: NetworkMode = NetworkMode.LIMITED,
        *,
        allow: tuple[str, ...] = ("example.com",),
        methods: tuple[str, ...] | None = None,
        ports: tuple[int, ...] = (80, 443),
        phase: Phase = Phase.AGENT,
        audit: Audit = Audit.DECISIONS,
        grants: Sequence[Grant] = (),
    ) -> None:
        policy = NetworkPolicy(
            mode=mode, phase=phase, environment="web", allow=allow, methods=methods, ports=ports, audit=audit
        )
        await self.egress.open(self.name, Listeners((os.dup(self.listener.fileno()),)), policy, self._hear, grants)

    def _hear(self, told: EgressRecord | EgressEnd) -> None:
        if isinstance(told, EgressEnd):
            self.ends.append(told)
        else:
            self.records.append(told)

    async def connect(self) -> SocketStream:
        return await anyio.connect_tcp(*self.listener.getsockname()[:2])

    async def ask(self, request: bytes) -> bytes:
        """Send bytes, and return all that comes back until the proxy closes. ConnectionResetError when it is reset."""
        async with await self.connect() as stream:
            await stream.send(request)
            return await read_to_end(stream)

    async def get(self, address: str, *, method: str = "GET", headers: str = "") -> bytes:
        """Ask for an http:// address in the proxy's form."""
        host = address.removeprefix("http://").split("/")[0]
        head = f"{method} {address} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n"
        return await self.ask(head.encode())

    @asynccontextmanager
    async def tunnel(self, authority: str) -> AsyncIterator[SocketStream]:
        """A tunnel that was opened; ValueError with the proxy's answer when it was not."""
        async with await self.connect() as stream:
            await stream.send(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
            answer = await stream.receive()
            if not answer.startswith(b"HTTP/1.1 200 "):
                raise ValueError((answer + await read_to_end(stream)).decode())
            yield stream

    def refusals(self) -> list[str]:
        """The rules of what was refused, in order."""
        return [record.decision.rule for record in self.records if not record.decision.allowed]


async def read_to_end(stream: SocketStream) -> bytes:
    """Return all bytes until the peer ends. ConnectionResetError when it breaks off."""
    data = b""
    with anyio.fail_after(20):
        while True:
            try:
                data += await stream.receive()
            except anyio.EndOfStream:
                return data
            except anyio.BrokenResourceError as error:
                raise ConnectionResetError from error


def client_hello(server_name: str | None) -> bytes:
    """A real ClientHello of OpenSSL, with or without a server name."""
    context = ssl.create_default_context()
    context.check_hostname = False
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname=server_name)
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()
    raise AssertionError("a handshake needs an answer")
