"""The worker's side of the egress process: starts it, keeps it alive, and tells it what to serve."""

import contextlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Self

import anyio
from anyio.abc import Process, TaskGroup

from cloister.egress.control import ControlChannel, control_pair
from cloister.egress.messages import (
    Answer,
    Begin,
    Called,
    Close,
    Done,
    EgressSettings,
    Ended,
    ListenerCounts,
    Open,
    Question,
    Ready,
    Recorded,
    Said,
    Who,
)
from cloister.egress.said import SAID, BrokenChildError, hear
from cloister.egress.teller import Report, Teller
from cloister.errors import EgressError
from cloister.model.network import EgressLost, NetworkPolicy, parse_domain, with_registries
from cloister.model.sandbox import SandboxName
from cloister.model.secret import Grant
from cloister.protocols import Egress, FindAsker, Listeners

NOBODY = 65534

_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 2.0
_MOST_STILLBORN = 3
"""Children in a row that end before they are ready; then `open` does not wait for one."""
_MOST_LAST_WORDS = 64 * 1024

_TRUST = ("SSL_CERT_FILE", "SSL_CERT_DIR")

# Nothing else of our own environment: neither its proxies nor its resolver options are the child's business.
_ENVIRONMENT = {
    "PATH": os.defpath,
    # No search list: `example.com` that does not exist must not become `example.com.corp.internal`.
    "LOCALDOMAIN": ".",
}


def _where_trust_is() -> dict[str, str]:
    """Return what says where this host's authorities are, for the child has another working directory."""
    return {name: str(Path(os.environ[name]).absolute()) for name in _TRUST if os.environ.get(name)}


@dataclass(slots=True, eq=False)
class _Order:
    """What the egress process shall do for one sandbox, until a newer order replaces it."""

    name: SandboxName
    listeners: Listeners = field(default_factory=lambda: Listeners(proxy=()))
    policy: NetworkPolicy | None = None
    """None closes."""
    grants: Sequence[Grant] = ()
    report: Report | None = None
    """None goes on with the former one, as does what is cut now: it is told as what ended before."""
    find_asker: FindAsker | None = None
    teller: Teller | None = None
    """The sandbox's; set when this becomes its order."""
    done: anyio.Event = field(default_factory=anyio.Event)
    failed: bool = False
    """Whether it is done for want of a child, which gets it when there is one after all."""


class EgressProcess:
    """Runs ONE child process that serves all sandboxes of this node, and starts it anew when it dies.

    An async context manager: entering it begins to start the child and does not wait for it, unless the child shall
    start no sooner than the first sandbox needs it. A child that dies takes all that was open with it; the next one
    gets listeners and policies back from here.
    """

    def __init__(
        self,
        settings: EgressSettings | None = None,
        *,
        registries: Callable[[], Awaitable[Collection[str]]] | None = None,
        uid: int = NOBODY,
        gid: int = NOBODY,
        command_prefix: Sequence[str] = (),
        answer_seconds: float = 30.0,
        early: bool = True,
    ) -> None:
        """Run the child as `uid` and `gid` when we are root; `command_prefix` is put before its command line.

        `registries` returns more of `EgressSettings.registries`. It is asked once, before the first child is
        started and without anybody but `open` waiting for it, and must not fail.
        `open` and `close` fail when nobody has answered within `answer_seconds`, restarts included; `open` fails as
        soon as some children in a row could not start. Not `early`, the first child is started by the first `open`.
        """
        self._settings = settings or EgressSettings()
        self._registries = registries
        self._command = (*command_prefix, sys.executable, "-I", "-m", "cloister.egress", str(uid), str(gid))
        self._answer_seconds = answer_seconds
        self._orders: dict[SandboxName, _Order] = {}
        self._tickets: dict[int, _Order] = {}
        self._last_ticket = 0
        self._ordering = anyio.Lock()
        self._channel: ControlChannel[Said] | None = None
        self._last_words = ""
        self._tasks: TaskGroup | None = None
        self._early = early
        self._is_begun = False
        self.pid: int | None = None
        """Of the child that runs now; None while there is none."""
        self.when_broken: Callable[[], None] = lambda: None
        """Called when a child has ended, and with it all that was open."""

    async def __aenter__(self) -> Self:
        self._tasks = await anyio.create_task_group().__aenter__()
        if self._early:
            self._begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        assert self._tasks is not None, "entered"
        self._tasks.cancel_scope.cancel()
        try:
            return await self._tasks.__aexit__(kind, error, trace)
        finally:
            for order in self._orders.values():
                _close_all(order.listeners.descriptors())
            self._orders.clear()

    async def open(
        self,
        name: SandboxName,
        listeners: Listeners,
        policy: NetworkPolicy,
        report: Report,
        grants: Sequence[Grant] = (),
        find_asker: FindAsker | None = None,
    ) -> None:
        """See `Egress.open`. EgressError when the policy cannot be one, or the child does not answer."""
        self._begin()
        try:
            _check_policy(policy)
        except BaseException:
            _close_all(listeners.descriptors())
            raise
        await self._give(
            _Order(name=name, listeners=listeners, policy=policy, grants=grants, report=report, find_asker=find_asker)
        )

    async def close(self, name: SandboxName) -> None:
        """See `Egress.close`. While there is no child, nothing is open, and this does not wait for the next one."""
        if name in self._orders:
            order = _Order(name=name)
            await self._give(order)
            assert order.teller is not None, "it was the sandbox's order"
            await order.teller.drain()

    def _begin(self) -> None:
        assert self._tasks is not None, "entered"
        if not self._is_begun:
            self._is_begun = True
            self._tasks.start_soon(self._keep_alive)

    async def _give(self, order: _Order) -> None:
        """Make this the sandbox's order, and return once it is carried out."""
        with anyio.move_on_after(self._answer_seconds):
            async with self._ordering:
                self._replace(order)
                if self._channel is not None:
                    with contextlib.suppress(OSError):  # it has died: the next child gets the order
                        await self._send(self._channel, order)
                elif order.policy is None:
                    self._finish(order)
            await order.done.wait()
        if order.failed or not order.done.is_set():
            fault = "cannot start" if order.failed else "does not answer"
            hint = f"It said: {self._last_words}" if self._last_words else None
            raise EgressError(f"The egress process {fault}.", hint=hint)

    def _replace(self, order: _Order) -> None:
        former = self._orders.get(order.name)
        self._orders[order.name] = order
        assert self._tasks is not None, "entered"
        order.teller = former.teller if former is not None and former.teller is not None else Teller(self._tasks)
        if order.report is not None:
            order.teller.renew(order.report, order.find_asker)
        if former is not None:
            _close_all(former.listeners.descriptors())
            former.done.set()

    async def _keep_alive(self) -> None:
        """Run a child, and another one when it dies; those that die at once are started ever more slowly."""
        pause, stillborn = _FIRST_PAUSE_SECONDS, 0
        await self._complete_settings()
        while True:
            stillborn += 1
            with contextlib.suppress(OSError, BrokenChildError):
                async with self._child() as channel:
                    await channel.send(Begin(self._settings))
                    if isinstance(await hear(channel), Ready):
                        pause, stillborn = 0.0, 0
                        await self._direct(channel)
            if stillborn == _MOST_STILLBORN:
                self._fail_waiting()
                stillborn = 0
            await anyio.sleep(pause)
            pause = min(max(2 * pause, _FIRST_PAUSE_SECONDS), _LONGEST_PAUSE_SECONDS)

    def _fail_waiting(self) -> None:
        """Let who waits know that no child gets ready; who comes later waits for as many again."""
        for order in self._orders.values():
            if not order.done.is_set():
                order.failed = True
                order.done.set()

    async def _complete_settings(self) -> None:
        """Find out which registries this node uses, wherever REGISTRIES stands for them."""
        settings = self._settings
        found = await self._registries() if self._registries is not None else ()
        registries = (*settings.registries, *found)
        ceiling = settings.ceiling
        if ceiling.allow is not None:
            ceiling = replace(ceiling, allow=with_registries(ceiling.allow, registries))
        self._settings = replace(settings, registries=registries, ceiling=ceiling)

    @asynccontextmanager
    async def _child(self) -> AsyncIterator[ControlChannel[Said]]:
        ours, theirs = control_pair()
        channel = ControlChannel(ours, SAID)
        last_words = os.memfd_create("egress-stderr")
        try:
            with theirs, anyio.CancelScope(shield=True):  # or nobody would have the child to end it
                process = await self._start(theirs.fileno(), last_words)
            async with _killed_at_the_end(process):
                self.pid = process.pid
                yield channel
        finally:
            channel.close()
            self._forget_child(os.pread(last_words, _MOST_LAST_WORDS, 0))
            os.close(last_words)

    async def _start(self, control: int, stderr: int) -> Process:
        # A session of its own: Ctrl-C is for us, and we still need it until we have cleaned up.
        return await anyio.open_process(
            self._command,
            cwd="/",
            stdin=control,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            env=_ENVIRONMENT | _where_trust_is(),
            start_new_session=True,
        )

    def _forget_child(self, last_words: bytes) -> None:
        self.pid = None
        self.when_broken()
        self._channel = None
        self._tickets.clear()
        lines = last_words.decode(errors="replace").splitlines()
        self._last_words = lines[-1] if lines else self._last_words
        for order in tuple(self._orders.values()):
            if order.teller is not None:
                order.teller.tell(EgressLost(sandbox=str(order.name)))
            if order.policy is None:
                self._finish(order)  # nothing is open any more

    async def _direct(self, channel: ControlChannel[Said]) -> None:
        """Give the child all orders there are, and hear what it says until it is gone."""
        assert self._tasks is not None, "entered"
        # At once, because a child that has much to say listens to nothing.
        self._tasks.start_soon(self._give_all, channel)
        while (said := await hear(channel)) is not None:
            self._hear(said, channel)

    async def _give_all(self, channel: ControlChannel[Said]) -> None:
        async with self._ordering:
            self._channel = channel
            with contextlib.suppress(OSError):  # it has died, which its reader sees
                for order in self._orders.values():
                    await self._send(channel, order)

    async def _send(self, channel: ControlChannel[Said], order: _Order) -> None:
        self._last_ticket += 1
        self._tickets[self._last_ticket] = order
        ticket, name = self._last_ticket, str(order.name)
        if order.policy is None:
            await channel.send(Close(ticket, name))
        else:
            counts = ListenerCounts.of(order.listeners)
            policy = replace(order.policy, allow=with_registries(order.policy.allow, self._settings.registries))
            message = Open(ticket, name, policy, tuple(order.grants), counts)
            await channel.send(message, order.listeners.descriptors())

    def _hear(self, said: Said, channel: ControlChannel[Said]) -> None:
        match said:
            case Done(ticket=ticket):
                order = self._tickets.pop(ticket, None)
                if order is not None:
                    self._finish(order)
            case Recorded(record=record, question=question):
                if (teller := self._teller(record.sandbox)) is not None:
                    teller.tell(record, question)
            case Ended(end=end):
                if (teller := self._teller(end.sandbox)) is not None:
                    teller.tell(end)
            case Called(call=call):
                if (teller := self._teller(call.sandbox)) is not None:
                    teller.tell(call)
            case Who(question=question):
                assert self._tasks is not None, "entered"
                # Not here: a child that has much to say listens to nothing.
                self._tasks.start_soon(self._answer, question, channel)
            case Ready():
                raise BrokenChildError("it was ready before")

    def _teller(self, sandbox: str) -> Teller | None:
        order = self._orders.get(SandboxName(sandbox))
        return order.teller if order is not None else None

    async def _answer(self, question: Question, channel: ControlChannel[Said]) -> None:
        asker = None
        if (teller := self._teller(question.sandbox)) is not None:
            search = teller.search(question)
            await search.done.wait()
            asker = search.asker
        with contextlib.suppress(OSError):  # it has died meanwhile
            await channel.send(Answer(question.number, asker))

    def _finish(self, order: _Order) -> None:
        order.done.set()
        if order.policy is None and self._orders.get(order.name) is order:
            del self._orders[order.name]


@asynccontextmanager
async def _killed_at_the_end(process: Process) -> AsyncIterator[None]:
    """It holds nothing that could be lost."""
    try:
        yield
    finally:
        with anyio.CancelScope(shield=True):
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def _check_policy(policy: NetworkPolicy) -> None:
    for domain in (*with_registries(policy.allow, ()), *policy.deny):
        try:
            canonical = parse_domain(domain)
        except ValueError as error:
            raise EgressError(f"The network policy of {policy.environment!r} has a wrong domain: {error}") from error
        if canonical != domain:
            raise EgressError(f"The network policy of {policy.environment!r} has {domain!r} in place of {canonical!r}.")


def _close_all(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


_: type[Egress] = EgressProcess
