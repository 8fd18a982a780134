"""A sandbox with a door, and probes that speak to it."""

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field

import anyio
import anyio.abc

from cloister.egress.process import EgressProcess
from cloister.model.model_door import ModelCall
from cloister.model.network import EgressRecord, EgressTold, NetworkMode, NetworkPolicy
from cloister.model.phase import Phase
from cloister.model.secret import Grant
from cloister.protocols import Listeners

from .door import FIRST, read_to_end


@dataclass
class Doored:
    """A sandbox's door and proxy, and what was decided."""

    egress: EgressProcess
    proxy: socket.socket
    door: socket.socket
    records: list[EgressTold] = field(default_factory=list)

    @property
    def port(self) -> int:
        port: int = self.door.getsockname()[1]
        return port

    async def open(self, *grants: Grant, mode: NetworkMode = NetworkMode.OFF) -> None:
        policy = NetworkPolicy(mode=mode, phase=Phase.AGENT, environment="web", ports=(80, 443, 8443))
        listeners = Listeners(proxy=(os.dup(self.proxy.fileno()),), doors={self.port: (os.dup(self.door.fileno()),)})
        await self.egress.open(FIRST, listeners, policy, self.records.append, grants)

    async def ask(self, path: str, *, method: str = "GET", headers: str = "", body: str = "", host: str = "") -> str:
        async with await anyio.connect_tcp("127.0.0.1", self.port) as stream:
            length = f"Content-Length: {len(body)}\r\n" if body else ""
            named = host or f"127.0.0.1:{self.port}"
            head = f"{method} {path} HTTP/1.0\r\nHost: {named}\r\n{headers}{length}\r\n"  # so that nothing is chunked
            await stream.send((head + body).encode())
            return (await read_to_end(stream)).decode()

    def refusals(self) -> list[str]:
        decisions = [record.decision for record in self.records if isinstance(record, EgressRecord)]
        return [decision.rule for decision in decisions if not decision.allowed]

    async def calls(self, count: int = 1) -> Sequence[ModelCall]:
        """Return what was told of calls of a model, once there is so much of it."""
        with anyio.fail_after(10):
            while len(calls := [told for told in self.records if isinstance(told, ModelCall)]) < count:  # noqa: ASYNC110
                await anyio.sleep(0.01)
        return calls


async def until(stream: anyio.abc.SocketStream, mark: bytes) -> bytes:
    """Return what comes, up to where `mark` is in it."""
    data = b""
    with anyio.fail_after(20):
        while mark not in data:
            data += await stream.receive()
    return data
