"""The gate of one sandbox: the policy in force, what is open under it, and its share of our attention."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from http import HTTPStatus
from ipaddress import ip_address, ip_network
from time import monotonic
from typing import NoReturn, Protocol

from cloister.egress.addresses import Address, Network, classify, classify_own, is_address
from cloister.egress.answer import AnswerError, answer_shortage
from cloister.egress.dial import look_up
from cloister.egress.flow import Flow, shown_path
from cloister.egress.gateway import decide, explain, judge_door, refuse_address, refuse_behind_proxy
from cloister.egress.hop import Hop, RecentHops, closed_to_proxy, look_up_if_known, take
from cloister.egress.inject import Broker
from cloister.egress.intercept import Interception
from cloister.egress.interfaces import own_addresses
from cloister.egress.keys import KeyLatch
from cloister.egress.messages import EgressSettings
from cloister.egress.pace import Pace
from cloister.egress.pipes import PipeShare
from cloister.egress.request import Authority
from cloister.egress.stream import Stream
from cloister.model.asker import Asker
from cloister.model.model_door import ModelCall
from cloister.model.network import Decision, EgressEnd, EgressRecord, NetworkPolicy, RuleKind
from cloister.model.secret import Grant
from cloister.model.upstreams import UpstreamProxy

_LONGEST_RULE = 300
_MOST_DECISIONS = 256


class Worker(Protocol):
    """What a gate wants of the process that it serves sandboxes for."""

    async def tell(self, record: EgressRecord) -> None:
        """Report a decision about what the current task serves. Waits while the worker is slow."""
        ...

    def tell_end(self, end: EgressEnd) -> None:
        """Report an end, without waiting.

        At most one a connection waits: what the connection asks for next is reported behind it.
        """
        ...

    def tell_call(self, call: ModelCall) -> None:
        """Report what a call of a model used, or why it failed, without waiting; as `tell_end`, one a connection."""
        ...

    async def find_asker(self) -> Asker | None:
        """Return who asks for what the current task serves; None when that is not known within a moment."""
        ...


class Gate:
    """Everything about one sandbox. A request passes the policy that is in force when it comes, or is cut later."""

    def __init__(
        self,
        name: str,
        policy: NetworkPolicy,
        settings: EgressSettings,
        worker: Worker,
        grants: Sequence[Grant] = (),
        *,
        tls: Interception | None = None,
    ) -> None:
        """`tls` is shared by all gates; None where nothing can be read inside TLS."""
        self.name = name
        self.tls = tls
        self.policy = policy
        self.broker = Broker(grants)
        self.settings = settings
        self.pipes = PipeShare()
        self._worker = worker
        self._allow_private = tuple(map(ip_network, settings.allow_private))
        self._flows: set[Flow] = set()
        self._decisions: dict[tuple[Authority, tuple[str, ...]], Decision] = {}
        """By the policy in force."""
        self._last_number = 0
        self._lookups = asyncio.Semaphore(settings.lookups)
        self._recent = RecentHops()
        self.keys = KeyLatch()
        self._pace = Pace(burst=settings.decisions_at_once, per_second=settings.decisions_per_second)

    def flow(
        self, authority: Authority, *methods: str, door: int | None = None, target: str = "", opaque: bool = False
    ) -> Flow:
        """Return the current task's request, which a new policy can cut until it is left as a context.

        `target` is the request's, where it could be read. The end of what was let out is reported.
        """
        task: asyncio.Task[None] | None = asyncio.current_task()
        assert task is not None, "a flow belongs to a task"
        self._last_number += 1
        flow = Flow(authority, methods, task, self._end, door, self._last_number, shown_path(target), opaque)
        self._flows.add(flow)
        return flow

    def _end(self, flow: Flow) -> None:
        self._flows.discard(flow)
        self._tell_end(flow)

    async def replace(self, policy: NetworkPolicy, grants: Sequence[Grant] = ()) -> None:
        """Put `policy` and `grants` in force. When this returns, all that is not allowed any more is cut."""
        self.policy = policy
        self.broker = Broker(grants)
        self._decisions.clear()
        cut = {flow.task for flow in self._flows if not self._may_stay(flow)}
        for task in cut:
            task.cancel()
        if cut:
            await asyncio.wait(cut)

    def must_read(self, authority: Authority) -> bool:
        """Whether requests inside TLS to `authority` have to be read, to judge them or to add a secret."""
        if self.policy.reads_https or self.settings.ceiling.methods is not None:
            return True
        return bool(self.broker.grants) and self.broker.must_read(authority.host)

    def _may_stay(self, flow: Flow) -> bool:
        is_closed = flow.opaque and self.must_read(flow.authority)
        return self._judge(flow).allowed and self._still_granted(flow) and not is_closed

    async def check(self, flow: Flow) -> Decision:
        """Judge by the policy alone, and return what allows it. A refusal is reported, and raised as AnswerError."""
        decision = self._judge(flow)
        if not decision.allowed:
            await self.refuse(flow, decision)
        return decision

    async def reach(self, flow: Flow, *, forwarded: bool = False) -> Stream:
        """Judge, look up, classify, report and dial. AnswerError for a refusal and for an upstream that fails.

        With `forwarded`, the connection to a proxy in between takes requests in place of a tunnel's bytes.
        """
        decision = await self.check(flow)
        policy = self.policy
        try:
            hop = await self._find(flow)
        except OSError as error:
            if (answer := answer_shortage(error)) is None:
                raise
            raise answer from error
        if self.policy is not policy:
            decision = await self.check(flow)
        await self._admit(flow, decision)
        return await take(hop, seconds=self.settings.dial_seconds, forwarded=forwarded)

    async def admit(self, flow: Flow) -> None:
        """Judge and report. AnswerError for a refusal."""
        await self._admit(flow, await self.check(flow))

    async def _admit(self, flow: Flow, decision: Decision) -> None:
        await self.record(flow, decision)
        flow.traffic.phase, flow.traffic.began = self.policy.phase, monotonic()

    async def refuse(self, flow: Flow, decision: Decision) -> NoReturn:
        """Report the refusal, and raise it as AnswerError."""
        policy = self.policy
        # Neither it nor the tunnel around it goes anywhere; a new policy's cut would keep the reason from the client.
        self._flows = {other for other in self._flows if other.task is not flow.task}
        await self.record(flow, decision)
        host, port, method = flow.authority.host, flow.authority.port, flow.methods[0]
        asker = await self._worker.find_asker()
        raise AnswerError(HTTPStatus.FORBIDDEN, explain(policy, host, port, method, decision, asker))

    async def record(self, flow: Flow, decision: Decision) -> None:
        """Report a decision. Waits while the worker is slow, which slows the sandbox and not us.

        A refusal waits until it is known who asked; what is let out does not, and the worker finds that out.
        """
        phase = self.policy.phase
        asker = None if decision.allowed else await self._worker.find_asker()
        record = EgressRecord(
            sandbox=self.name,
            phase=phase,
            host=flow.authority.host,
            port=flow.authority.port,
            method=flow.methods[0],
            decision=_shown(decision),
            command=asker.command if asker is not None else None,
            flow=flow.number,
            path=flow.path,
            of_model=decision.allowed and self._is_of_model(flow),
        )
        await self._tell_at_pace(record)

    async def record_malformed(self, reason: str) -> None:
        """Report a request that was not one."""
        rule = f"malformed request: {reason}"
        decision = _shown(Decision(allowed=False, rule=rule, kind=RuleKind.MALFORMED))
        await self._tell_at_pace(
            EgressRecord(sandbox=self.name, phase=self.policy.phase, host="", port=0, method="", decision=decision)
        )

    def _tell_end(self, flow: Flow) -> None:
        """Report the end of what was let out, also while the task that carried it is being cancelled."""
        traffic = flow.traffic
        if traffic.phase is None:
            return
        end = EgressEnd(
            sandbox=self.name,
            phase=traffic.phase,
            flow=flow.number,
            sent_bytes=traffic.sent_bytes,
            received_bytes=traffic.received_bytes,
            seconds=round(monotonic() - traffic.began, 3),
        )
        self._worker.tell_end(end)

    def tell_call(self, call: ModelCall) -> None:
        """Report a call of a model that is over."""
        self._worker.tell_call(call)

    async def _tell_at_pace(self, record: EgressRecord) -> None:
        if wait_seconds := self._pace.take(monotonic()):
            await asyncio.sleep(wait_seconds)
        await self._worker.tell(record)

    def _still_granted(self, flow: Flow) -> bool:
        return all(grant in self.broker.grants for grant in flow.traffic.granted)

    def _judge(self, flow: Flow) -> Decision:
        if flow.door is not None:
            grant = self.broker.behind(flow.door)
            return judge_door(grant, flow.door, flow.authority.host, self.policy, self.settings.ceiling)
        question = (flow.authority, flow.methods)
        decision = self._decisions.get(question)
        if decision is None:
            if len(self._decisions) >= _MOST_DECISIONS:
                self._decisions.clear()
            decision = self._decisions[question] = self._decide(flow)
        return decision

    def _decide(self, flow: Flow) -> Decision:
        decision = Decision(allowed=False, rule="no method", kind=RuleKind.METHOD)
        for method in flow.methods:
            decision = decide(self.policy, flow.authority.host, flow.authority.port, method, self.settings.ceiling)
            if not decision.allowed:
                return decision
        return decision

    async def _find(self, flow: Flow) -> Hop:
        """Return what to dial: an address that the operator gives, a proxy in between, or the host's addresses."""
        upstreams, authority = self.settings.upstreams, flow.authority
        if self._is_own_model(flow):
            address = ip_address(authority.host)
            if (reason := classify_own(address)) is not None:
                await self.refuse(flow, refuse_address(authority.host, address, reason))
            return Hop(authority, [address])
        given = upstreams.addresses.get(authority.host)
        if given is not None:
            address = ip_address(given.address)
            await self._classify(flow, [address], (ip_network(address),))
            return Hop(replace(authority, port=given.port or authority.port), [address])
        now = monotonic()
        if (recent := self._recent.get(authority, now)) is not None:
            return recent
        proxy = upstreams.proxy_for(authority.host, authority.port)
        addresses = await self._find_addresses(flow, proxy)
        if proxy is not None and (reason := closed_to_proxy(proxy, authority.host, addresses)) is not None:
            await self.refuse(flow, refuse_behind_proxy(authority.host, reason))
        hop = Hop(authority, addresses, proxy)
        if addresses:
            self._recent.put(authority, hop, now)
        return hop

    def proxy_for(self, flow: Flow) -> UpstreamProxy | None:
        """Return the operator's proxy that leads to where a flow goes; None where there is none in between."""
        if self._is_own_model(flow):
            return None
        return self.settings.upstreams.proxy_for(flow.authority.host, flow.authority.port)

    def _is_own_model(self, flow: Flow) -> bool:
        """Whether it leads to a model at an address that the operator wrote down, and that no name could change."""
        return self._is_of_model(flow) and is_address(flow.authority.host)

    def _is_of_model(self, flow: Flow) -> bool:
        grant = self.broker.behind(flow.door) if flow.door is not None else None
        return grant is not None and grant.model is not None

    async def _find_addresses(self, flow: Flow, proxy: UpstreamProxy | None) -> list[Address]:
        """Return the host's addresses; none when nobody but a proxy may know them."""
        look = look_up if proxy is None else look_up_if_known
        try:
            async with self._lookups:
                addresses = await look(flow.authority, seconds=self.settings.dial_seconds)
        except AnswerError:
            await self.admit(flow)  # it was let out, as far as the resolver, and the log shows that
            raise
        await self._classify(flow, addresses, self._allow_private)
        return addresses

    async def _classify(self, flow: Flow, addresses: Sequence[Address], allow_private: Sequence[Network]) -> None:
        """Refuse all for one that is forbidden: mixed answers are an attack's."""
        own = own_addresses({address.version for address in addresses})
        host = flow.authority.host
        for address in addresses:
            reason = classify(address, allow_private, own, of_registry=host in self.settings.registries)
            if reason is not None:
                await self.refuse(flow, refuse_address(host, address, reason))


def _shown(decision: Decision) -> Decision:
    """Return it with a rule of bounded length: some quote what a client sent."""
    return decision if len(decision.rule) <= _LONGEST_RULE else replace(decision, rule=decision.rule[:_LONGEST_RULE])
