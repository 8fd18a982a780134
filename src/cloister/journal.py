"""What one attempt tells the log: events in order, each with its phase, every text masked."""

import codecs
import contextlib
import math
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace

import anyio
import structlog

from cloister.agent_reader import AgentReader
from cloister.errors import CloisterError, LeaseLostError
from cloister.model.asker import Asker
from cloister.model.event import (
    AgentEvent,
    EgressAllowed,
    EgressFinished,
    EgressRefused,
    Event,
    ModelCallFailed,
    Output,
    PhaseFinished,
    PhaseStarted,
    Usage,
)
from cloister.model.model_door import ModelCall
from cloister.model.model_usage import TokenUsage
from cloister.model.network import EgressEnd, EgressLost, EgressRecord, EgressTold, NetworkMode
from cloister.model.phase import Phase
from cloister.model.sandbox import Chunk, Exit, Stream
from cloister.model.secret import DeliveredSecrets
from cloister.model.task import Attempt
from cloister.model.visit import note_to_event
from cloister.protocols import AttemptQueue, Process, Redactor, Vault

LAST_CHARACTERS = 2000
"""How much of a command's output is remembered for the sentence that says why it failed."""
_MOST_WAITING = 1000
"""Events on their way to the queue; above, reading of output pauses."""
_PAUSE_SECONDS = 1.0
"""After the queue could not write."""
_CLOSING_SECONDS = 10.0
"""How long the last events may take to reach the queue, of an attempt that was cancelled too."""

_log = structlog.get_logger(__name__)


class Journal:
    """The log of one attempt, as its phases see it. Recording costs no waiting."""

    def __init__(self, attempt: Attempt, queue: AttemptQueue, vault: Vault) -> None:
        self._attempt = attempt
        self._queue = queue
        self._vault = vault
        self._entries, self._arriving = anyio.create_memory_object_stream[tuple[Phase | None, tuple[Event, ...]]](
            math.inf
        )
        self._drained = anyio.Event()
        self._delivery = anyio.CancelScope(shield=True)
        self._secrets = DeliveredSecrets(values={}, versions={})
        self._phase: Phase | None = None
        self.seconds: dict[Phase, float] = {}
        """Time spent in each phase that has ended; a phase may come again."""

    def mask(self, secrets: DeliveredSecrets) -> None:
        """From now on, mask these values wherever they are printed."""
        self._secrets = secrets

    def record(self, *events: Event) -> None:
        """Append events, all or none. Never fails: the phases, teardown above all, do not depend on the log."""
        self._record(self._phase, *events)

    def record_egress(self, told: EgressTold) -> None:
        """Append what the egress process tells, as of the phase whose policy it is about."""
        match told:
            case ModelCall():
                self.record_call(told)
            case EgressRecord():
                self._record(told.phase, _event_of_decision(self._masked(told)))
            case EgressEnd():
                self._record(told.phase, _event_of_end(told))
            case EgressLost():
                pass  # nobody knows how its flows ended

    def record_call(self, call: ModelCall, cost: float | None = None) -> None:
        """Append what a call of a model used, with its cost in US dollars where it is known, and why it failed."""
        if call.usage is not None:
            self._record(call.phase, _event_of_usage(call, call.usage, cost))
        if call.fault:
            self._record(call.phase, _event_of_fault(call, self.mask_text(call.fault)))

    def masked_asker(self, asker: Asker) -> Asker:
        """Mask its command line, while it is whole: a value that was cut to be shown is not known any more."""
        return replace(asker, command=self.mask_text(asker.command))

    def _masked(self, told: EgressRecord) -> EgressRecord:
        """Whatever a sandbox can choose may hold a secret: names to look up, methods, paths, command lines."""
        if not self._secrets.values and not self._secrets.brokered:
            return told
        mask, decision = self.mask_text, told.decision
        return replace(
            told,
            host=mask(told.host),
            method=mask(told.method),
            decision=replace(decision, rule=mask(decision.rule), hint=mask(decision.hint)),
            command=None if told.command is None else mask(told.command),
            path=mask(told.path),
        )

    @contextmanager
    def phase(
        self,
        phase: Phase,
        *,
        network: NetworkMode = NetworkMode.OFF,
        secrets: Sequence[str] = (),
        brokered: Sequence[str] = (),
        model: str | None = None,
    ) -> Iterator[None]:
        """Mark everything recorded inside as of this phase, and measure it."""
        self._phase = phase
        started = time.monotonic()
        self.record(PhaseStarted(network=network, secrets=tuple(secrets), brokered=tuple(brokered), model=model))
        try:
            yield
        finally:
            seconds = time.monotonic() - started
            self.seconds[phase] = self.seconds.get(phase, 0.0) + seconds
            self.record(PhaseFinished(seconds=seconds))
            self._phase = None

    async def follow(
        self, process: Process, command: str, *, resumed: bool, reader: AgentReader | None = None
    ) -> tuple[Exit, str]:
        """Record what a process prints until it ends; return how it ended and its last words.

        With `resumed`, a former worker started it: what that one has recorded is read again, because masking and
        `reader` depend on it, but not recorded again.
        """
        recorded = await self.recorded(command) if resumed else 0
        last_words = await self.copy(process.output(), command, recorded=recorded, reader=reader)
        return await process.wait(), last_words

    async def recorded(self, command: str) -> int:
        """Where what a former worker recorded of that command ends."""
        return await self._queue.output_offset(self._attempt, command)

    async def told(self) -> Sequence[Event]:
        """What is recorded of this attempt, without output."""
        return [entry.event for entry in await self._queue.told(self._attempt)]

    async def commands_before(self, command: str) -> int:
        """How many commands the agent has run in this attempt, those of its run `command` left out."""
        numbers = (it.number or 0 for it in await self.told() if isinstance(it, AgentEvent) and it.command != command)
        return max(numbers, default=0)

    async def copy(
        self, chunks: AsyncIterator[Chunk], command: str, *, recorded: int, reader: AgentReader | None = None
    ) -> str:
        """Record the chunks of a stream, from its first, as what `command` prints; return the last words.

        Those that end at or before `recorded` were recorded before. `reader` is given the standard output, and what
        it makes of it is recorded with the chunk that it comes from.
        """
        texts = {stream: _MaskedText(self._vault.redactor(self._secrets)) for stream in Stream}
        last, offset = "", 0
        async for chunk in chunks:
            offset = chunk.end
            if chunk.stream is Stream.NOTE:
                note = note_to_event(chunk.data, command, offset)
                if note is not None and offset > recorded:
                    self.record(note)
                continue
            text = texts[chunk.stream].feed(chunk.data)
            last = (last + text)[-LAST_CHARACTERS:]
            events = _printed(text, chunk.stream, command, offset, reader)
            if offset > recorded:
                self.record(*events)
            if self._arriving.statistics().current_buffer_used > _MOST_WAITING:
                await self._drained.wait()
        rest = {stream: masked.end() for stream, masked in texts.items()}
        offset += 1  # no chunk ends there, so that this too is recorded once
        events = [event for stream, text in rest.items() for event in _printed(text, stream, command, offset, reader)]
        events += reader.end(offset) if reader else ()
        if offset > recorded:
            self.record(*events)
        return _as_shown(_whole_lines((last + "".join(rest.values()))[-LAST_CHARACTERS:]))

    def mask_text(self, text: str) -> str:
        """Return a whole text, masked, and as valid Unicode: a path may have bytes that are none."""
        masked = _MaskedText(self._vault.redactor(self._secrets))
        return masked.feed(text.encode(errors="replace")) + masked.end()

    def mask_bytes(self, data: bytes) -> bytes:
        """Return a whole file, masked."""
        redactor = self._vault.redactor(self._secrets)
        return redactor.feed(data) + redactor.flush()

    async def deliver(self) -> None:
        """Hand what is recorded to the queue, until the journal is closed."""
        with self._delivery:
            await self._deliver()
        if self._delivery.cancelled_caught:
            _log.error("the last events did not reach the queue", attempt=self._attempt.id)

    def close(self) -> None:
        """Nothing more will be recorded; `deliver` ends when all is delivered, or its time is up."""
        self._delivery.deadline = anyio.current_time() + _CLOSING_SECONDS
        self._entries.close()

    async def _deliver(self) -> None:
        async with self._arriving:
            async for phase, events in self._arriving:
                await self._record_in_queue(phase, *events)
                if self._arriving.statistics().current_buffer_used == 0:
                    self._drained.set()
                    self._drained = anyio.Event()

    async def _record_in_queue(self, phase: Phase | None, *events: Event) -> None:
        try:
            await self._queue.record(self._attempt, phase, *events)
        except LeaseLostError:
            raise
        except CloisterError as error:  # the queue keeps the events, and tries again with the next
            _log.error("the log could not be written", attempt=self._attempt.id, error=str(error))
            await anyio.sleep(_PAUSE_SECONDS)

    def _record(self, phase: Phase | None, *events: Event) -> None:
        if events:
            with contextlib.suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
                self._entries.send_nowait((phase, events))


@asynccontextmanager
async def open_journal(attempt: Attempt, queue: AttemptQueue, vault: Vault) -> AsyncIterator[Journal]:
    """Open the log of an attempt; when the block is left, all that was recorded has reached the queue."""
    journal = Journal(attempt, queue, vault)
    async with anyio.create_task_group() as group:
        group.start_soon(journal.deliver)
        try:
            yield journal
        finally:
            journal.close()


def _event_of_end(told: EgressEnd) -> Event:
    return EgressFinished(
        flow=told.flow, sent_bytes=told.sent_bytes, received_bytes=told.received_bytes, seconds=told.seconds
    )


def _event_of_usage(call: ModelCall, usage: TokenUsage, cost: float | None) -> Event:
    return Usage(
        source="proxy",
        input_tokens=usage.input_tokens,
        cached_input_tokens=usage.cached_tokens,
        cache_written_tokens=usage.cache_written_tokens,
        output_tokens=usage.output_tokens,
        cost=cost,
        model=call.model or None,
        provider=call.provider,
        estimated=call.estimated,
        flow=call.flow,
    )


def _event_of_fault(call: ModelCall, reason: str) -> Event:
    return ModelCallFailed(
        provider=call.provider,
        status=call.status,
        reason=reason,
        retry_after=call.retry_after,
        key_refused=call.key_refused,
        flow=call.flow,
    )


def _event_of_decision(told: EgressRecord) -> Event:
    decision = told.decision
    if decision.allowed:
        return EgressAllowed(
            host=told.host,
            port=told.port,
            method=told.method,
            rule=decision.rule,
            command=told.command,
            flow=told.flow,
            path=told.path,
        )
    return EgressRefused(
        host=told.host,
        port=told.port,
        method=told.method,
        rule=decision.rule,
        hint=decision.hint,
        command=told.command,
        flow=told.flow,
        path=told.path,
    )


def _printed(text: str, stream: Stream, command: str, offset: int, reader: AgentReader | None) -> Sequence[Event]:
    """Return what was printed as it is, and what it says."""
    if not text:
        return []
    told = stream is Stream.STDOUT and reader is not None
    output = Output(stream=stream, text=text, command=command, offset=offset, told=told)
    return [output, *(reader.feed(text, offset) if told and reader else ())]


def _whole_lines(last: str) -> str:
    """Leave out a first line whose beginning was cut off, unless there is little else."""
    end = last.find("\n", 0, LAST_CHARACTERS // 2)
    return last[end + 1 :] if len(last) == LAST_CHARACTERS else last


def _as_shown(text: str) -> str:
    """Return it as a terminal leaves it: of a line that was overwritten by carriage returns, the last state."""
    return "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n")).strip()


class _MaskedText:
    """Bytes in, text out: secrets masked, characters never cut."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def feed(self, data: bytes) -> str:
        return self._decoder.decode(self._redactor.feed(data))

    def end(self) -> str:
        return self._decoder.decode(self._redactor.flush(), final=True)
