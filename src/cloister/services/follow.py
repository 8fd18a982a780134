"""Follows a command that has services: what it prints, what they print, and how they do."""

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field

import anyio

from cloister.agent_reader import AgentReader
from cloister.errors import CloisterError, TaskFailedError
from cloister.journal import Journal
from cloister.model.environment import Service
from cloister.model.event import ServiceEnded, ServiceReady, ServiceStarted
from cloister.model.sandbox import Chunk, EndCause, Exit, Stream
from cloister.protocols import Process, Sandbox
from cloister.services.launch import LINE_BYTES, PLACE, RUN, log_of

_NOTICE_BYTES = 256
"""Room for the sentence that a log ends with when it was cut."""
_ENDS_BYTES = 64 * 1024
_SAID = re.compile(rb"(started|ready|failed) [A-Za-z0-9_-]{1,64}( [a-z0-9-]{1,9}){0,2}")
_ENDED = re.compile(rb"([A-Za-z0-9_-]{1,64}) ([0-9]{1,3})\n")


async def follow_with_services(
    process: Process,
    command: str,
    services: Sequence[Service],
    sandbox: Sandbox,
    journal: Journal,
    *,
    resumed: bool,
    log_bytes: int,
    label: str = "",
    reader: AgentReader | None = None,
) -> tuple[Exit, str]:
    """Record what a command of `with_services` and its services print until all has ended; see `Journal.follow`.

    `label` goes before what the streams of services are called: each command of an attempt needs its own.
    Of each service's output at most `log_bytes` are recorded. TaskFailedError when a service ended, or was not ready
    in time, before the command was run: that it was is for the launcher alone to say.
    """
    if not services:
        return await journal.follow(process, command, resumed=resumed, reader=reader)
    recorded = await journal.recorded(command) if resumed else 0
    by_name = {service.name: service for service in services}
    account = _Account(command=command, journal=journal, services=by_name, recorded=recorded)
    logs = _Logs(sandbox=sandbox, journal=journal, services=services, resumed=resumed, log_bytes=log_bytes, label=label)
    failure: CloisterError | None = None
    async with anyio.create_task_group() as group:
        for service in services:
            group.start_soon(logs.copy, service)
        group.start_soon(logs.tell_ends)
        try:
            output = account.after(process.output())
            last_words = await journal.copy(output, command, recorded=recorded, reader=reader)
            ended = await process.wait()
        except CloisterError as error:  # raised below, because the group would wrap it
            failure = error
            group.cancel_scope.cancel()
        logs.over.set()
    if failure is not None:
        raise failure
    if not account.runs:
        raise TaskFailedError(_why_not(account, ended, logs.last_words))
    return ended, last_words


@dataclass(kw_only=True)
class _Account:
    """What the launcher says on standard output before the command is run.

    A service is root there as well, and could say something in its place; nothing that runs later can.
    """

    command: str
    journal: Journal
    services: Mapping[str, Service]
    recorded: int
    runs: bool = False
    waits_for: Service | None = None
    """The one that was started last."""
    failed: Sequence[str] = ()
    """What is wrong with it."""
    _heard: set[tuple[str, str]] = field(default_factory=set)

    async def after(self, chunks: AsyncIterator[Chunk]) -> AsyncIterator[Chunk]:
        """Yield what comes after the account; record what is in it."""
        rest = b""
        async for chunk in chunks:
            if self.runs or chunk.stream is not Stream.STDOUT:
                yield chunk
                continue
            text, at = rest[-LINE_BYTES:] + chunk.data, 0
            while not self.runs and (end := text.find(b"\n", at)) >= 0:
                line, at = text[at:end], end + 1
                # Whatever an offset counts besides the data, each line has one of its own.
                self._hear(line, chunk.end - (len(text) - at))
            rest = text[at:]
            if self.runs and rest:
                yield Chunk(chunk.stream, rest, chunk.end)

    def _hear(self, line: bytes, offset: int) -> None:
        found = _SAID.fullmatch(line)
        if line == RUN:
            self.runs = True
        if found is None:
            return
        what, name, *how = found[0].decode().split()
        if name not in self.services or (what, name) in self._heard:
            return
        self._heard.add((what, name))
        match what, how:
            case "started", []:
                self.waits_for = self.services[name]
                self._record(ServiceStarted(service=name, command=self.command, offset=offset))
            case "ready", [hundredths] if hundredths.isdecimal():
                seconds = int(hundredths) / 100
                self._record(ServiceReady(service=name, seconds=seconds, command=self.command, offset=offset))
            case "failed", _:
                self.waits_for, self.failed = self.services[name], how

    def _record(self, event: ServiceStarted | ServiceReady) -> None:
        if event.offset > self.recorded:
            self.journal.record(event)


@dataclass(kw_only=True)
class _Logs:
    """What services leave in the sandbox, where whatever runs beside them can write too: it is only shown."""

    sandbox: Sandbox
    journal: Journal
    services: Sequence[Service]
    resumed: bool
    log_bytes: int
    label: str
    over: anyio.Event = field(default_factory=anyio.Event)
    """To be set when the container has ended."""
    last_words: dict[str, str] = field(default_factory=dict)

    async def copy(self, service: Service) -> None:
        """Record what a service prints, as of the command `service:NAME`."""
        stream = f"{self.label}service:{service.name}"
        recorded = await self._recorded(stream)
        data = self.sandbox.tail(log_of(service), self.over, limit_bytes=self.log_bytes + _NOTICE_BYTES)
        self.last_words[service.name] = await self.journal.copy(_chunks(data, recorded), stream, recorded=recorded)

    async def tell_ends(self) -> None:
        """Record which services ended before their time, each once."""
        stream, told, offset, rest = f"{self.label}services", set[str](), 0, b""
        recorded = await self._recorded(stream)
        known = {service.name for service in self.services}
        async for data in self.sandbox.tail(f"{PLACE}/ended", self.over, limit_bytes=_ENDS_BYTES):
            *lines, rest = (rest + data).splitlines(keepends=True) or [b""]
            if rest.endswith(b"\n"):
                lines, rest = [*lines, rest], b""
            for line in lines:
                offset += len(line)
                event = _ended(line, stream, offset)
                if event is None or event.service not in known - told:
                    continue
                told.add(event.service)
                if offset > recorded:
                    self.journal.record(event)

    async def _recorded(self, stream: str) -> int:
        return await self.journal.recorded(stream) if self.resumed else 0


async def _chunks(data: AsyncIterator[bytes], border: int) -> AsyncIterator[Chunk]:
    """Yield the pieces of a log, one of which ends at `border`."""
    end = 0
    async for piece in data:
        cut = max(0, border - end)
        for part in (piece[:cut], piece[cut:]):
            if part:
                end += len(part)
                yield Chunk(Stream.STDOUT, part, end)


def _ended(line: bytes, stream: str, offset: int) -> ServiceEnded | None:
    found = _ENDED.fullmatch(line)
    if found is None or int(found[2]) > 255:
        return None
    return ServiceEnded(service=found[1].decode(), status=int(found[2]), command=stream, offset=offset)


def _why_not(account: _Account, ended: Exit, last_words: Mapping[str, str]) -> str:
    """Say why the command was never run."""
    service = account.waits_for
    if service is None:
        return f"the container ended before a service was started: {_how(ended)}"
    what, said = f"service {service.name}", last_words.get(service.name)
    late = f"{what} was not ready ({service.ready}) after {service.timeout_seconds:g} seconds"
    match account.failed:
        case ["taken"]:
            return f"{what} was not started: something else listens already where it would be ready ({service.ready})"
        case ["ended", status]:
            what += f" ended with status {status} before it was ready"
        case ["late", "-"]:
            what = late
        case ["late", status]:
            what = f"{late}; its command line had ended with status {status}"
        case _:
            what += f" was being waited for when the container ended: {_how(ended)}"
    return f"{what}; it last said: {said}" if said else f"{what}; it said nothing"


def _how(ended: Exit) -> str:
    return f"status {ended.status}" if ended.cause is EndCause.EXITED else str(ended.cause)
