"""The gate of one sandbox: the policy in force, what is open under it, and its share of our attention."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from http import HTTPStatus
from typing import NoReturn

from cloister.egress.addresses import Address, classify
from cloister.egress.answer import AnswerError
from cloister.egress.dial import dial, look_up
from cloister.egress.flow import Flow, shown_path
from cloister.egress.gateway import decide, explain, judge_door, refuse_address
from cloister.egress.inject import Broker
from cloister.egress.intercept import Interception
from cloister.egress.interfaces import own_addresses
from cloister.egress.messages import EgressSettings
from cloister.egress.pace import Pace
from cloister.egress.request import Authority
from cloister.egress.stream import Stream
from cloister.model.asker import Asker
from cloister.model.network import Decision, EgressEnd, EgressRecord, NetworkPolicy
from cloister.model.secret import Grant

_LONGEST_RULE = 300


class Gate:
    """Everything about one sandbox. A request passes the policy that is in force when it comes, or is cut later."""

    def __init__(
        self,
        name: str,
        policy: NetworkPolicy,
        settings: EgressSettings,
        report: Callable[[EgressRecord | EgressEnd], Awaitable[None]],
        grants: Sequence[Grant] = (),
        *,
        tls: Interception | None = None,
        find_asker: Callable[[], Awaitable[Asker | None]],
    ) -> None:
        """`tls` is shared by all gates; None where nothing can be read inside TLS.

        `find_asker` says in a moment who asks for what the current task serves.
        """
        self.name = name
        self.tls = tls
        self.policy = policy
        self.broker = Broker(grants)
        self.settings = settings
        self._report = report
        self._find_asker = find_asker
        self._flows: set[Flow] = set()
        self._last_number = 0
        self._telling: set[asyncio.Task[None]] = set()
        self._lookups = asyncio.Semaphore(settings.lookups)
        self._pace = Pace(burst=settings.decisions_at_once, per_second=settings.decisions_per_second)

    @contextmanager
    def flow(
        self, authority: Authority, *methods: str, door: int | None = None, target: str = "", opaque: bool = False
    ) -> Iterator[Flow]:
        """Count the current task's request as open while it lasts, so that a new policy can cut it.

        `target` is the request's, where it could be read. The end of what was let out is reported.
        """
        task: asyncio.Task[None] | None = asyncio.current_task()
        assert task is not None, "a flow belongs to a task"
        self._last_number += 1
        flow = Flow(authority, methods, task, door, self._last_number, shown_path(target), opaque)
        self._flows.add(flow)
        try:
            yield flow
        finally:
            self._flows.remove(flow)
            self._tell_end(flow)

    async def replace(self, policy: NetworkPolicy, grants: Sequence[Grant] = ()) -> None:
        """Put `policy` and `grants` in force. When this returns, all that is not allowed any more is cut."""
        self.policy = policy
        self.broker = Broker(grants)
        cut = {flow.task for flow in self._flows if not self._may_stay(flow)}
        for task in cut:
            task.cancel()
        if cut:
            await asyncio.wait(cut)

    def must_read(self, authority: Authority) -> bool:
        """Whether requests inside TLS to `authority` have to be read, to judge them or to add a secret."""
        reads = self.policy.reads_https or self.settings.ceiling.methods is not None
        return reads or self.broker.must_read(authority.host)

    def _may_stay(self, flow: Flow) -> bool:
        is_closed = flow.opaque and self.must_read(flow.authority)
        return self._judge(flow).allowed and self._still_granted(flow) and not is_closed

    async def check(self, flow: Flow) -> None:
        """Judge by the policy alone. A refusal is reported, and raised as AnswerError."""
        decision = self._judge(flow)
        if not decision.allowed:
            await self.refuse(flow, decision)

    async def reach(self, flow: Flow) -> Stream:
        """Judge, look up, classify, report and dial. AnswerError for a refusal and for an upstream that fails."""
        await self.check(flow)
        addresses = await self._find(flow)
        await self.admit(flow)
        return Stream(await dial(flow.authority, addresses, seconds=self.settings.dial_seconds))

    async def admit(self, flow: Flow) -> None:
        """Judge and report. AnswerError for a refusal."""
        await self.check(flow)
        await self.record(flow, self._judge(flow))
        flow.traffic.phase, flow.traffic.began = self.policy.phase, asyncio.get_running_loop().time()

    async def refuse(self, flow: Flow, decision: Decision) -> NoReturn:
        """Report the refusal, and raise it as AnswerError."""
        await self.record(flow, decision)
        host, port, method = flow.authority.host, flow.authority.port, flow.methods[0]
        asker = await self._find_asker()
        raise AnswerError(HTTPStatus.FORBIDDEN, explain(self.policy, host, port, method, decision, asker))

    async def record(self, flow: Flow, decision: Decision) -> None:
        """Report a decision. Waits while the worker is slow, which slows the sandbox and not us.

        A refusal waits until it is known who asked; what is let out does not, and the worker finds that out.
        """
        host, port = flow.authority.host, flow.authority.port
        record = self._record(host, port, flow.methods[0], decision)
        asker = None if decision.allowed else await self._find_asker()
        command = asker.command if asker is not None else None
        await self._report_at_pace(replace(record, flow=flow.number, path=flow.path, command=command))

    async def record_malformed(self, reason: str) -> None:
        """Report a request that was not one."""
        decision = Decision(allowed=False, rule=f"malformed request: {reason}")
        await self._report_at_pace(self._record("", 0, "", decision))

    def _tell_end(self, flow: Flow) -> None:
        """Report the end of what was let out, also while the task that carried it is being cancelled.

        At most one a connection waits: what the connection asks for next is reported behind it.
        """
        traffic = flow.traffic
        if traffic.phase is None:
            return
        end = EgressEnd(
            sandbox=self.name,
            phase=traffic.phase,
            flow=flow.number,
            sent_bytes=traffic.sent_bytes,
            received_bytes=traffic.received_bytes,
            seconds=round(asyncio.get_running_loop().time() - traffic.began, 3),
        )
        telling = asyncio.create_task(self._report_end(end))
        self._telling.add(telling)
        telling.add_done_callback(self._telling.discard)

    async def _report_end(self, end: EgressEnd) -> None:
        with suppress(OSError):  # the worker has gone, which is the end of us too
            await self._report(end)

    async def _report_at_pace(self, record: EgressRecord) -> None:
        if wait_seconds := self._pace.take(asyncio.get_running_loop().time()):
            await asyncio.sleep(wait_seconds)
        await self._report(record)

    def _record(self, host: str, port: int, method: str, decision: Decision) -> EgressRecord:
        shown = replace(decision, rule=decision.rule[:_LONGEST_RULE])  # some quote what a client sent
        return EgressRecord(
            sandbox=self.name, phase=self.policy.phase, host=host, port=port, method=method, decision=shown
        )

    def _still_granted(self, flow: Flow) -> bool:
        return all(grant in self.broker.grants for grant in flow.traffic.granted)

    def _judge(self, flow: Flow) -> Decision:
        if flow.door is not None:
            grant = self.broker.behind(flow.door)
            return judge_door(grant, flow.door, flow.authority.host, self.policy, self.settings.ceiling)
        decision = Decision(allowed=False, rule="no method")
        for method in flow.methods:
            decision = decide(self.policy, flow.authority.host, flow.authority.port, method, self.settings.ceiling)
            if not decision.allowed:
                return decision
        return decision

    async def _find(self, flow: Flow) -> list[Address]:
        """Return the addresses to dial. One forbidden address forbids them all: mixed answers are an attack's."""
        async with self._lookups:
            addresses = await look_up(flow.authority, seconds=self.settings.dial_seconds)
        own = own_addresses({address.version for address in addresses})
        of_registry = flow.authority.host in self.settings.registries
        for address in addresses:
            reason = classify(address, self.settings.allow_private, own, of_registry=of_registry)
            if reason is not None:
                await self.refuse(flow, refuse_address(flow.authority.host, address, reason))
        return addresses
