"""An egress that carries no bytes: it remembers policies, and reports the decisions it is scripted with."""

import os
from collections.abc import Awaitable, Callable, Mapping, Sequence

from cloister.errors import EgressError
from cloister.model.network import EgressRecord, EgressTold, NetworkPolicy, parse_domain
from cloister.model.phase import Phase
from cloister.model.sandbox import SandboxName
from cloister.model.secret import Grant
from cloister.protocols import Egress, FindAsker, Listeners

OnCall = Callable[[str, str], Awaitable[None]]
"""Told of each call before it takes effect, as (sandbox, call). What it raises, the call raises."""


class FakeEgress:
    """Takes listeners over and gives them back to nobody; a phase's scripted decisions are made as it opens."""

    def __init__(
        self, decisions: Mapping[Phase, Sequence[EgressRecord]] | None = None, *, on_call: OnCall | None = None
    ) -> None:
        self.policies: dict[SandboxName, NetworkPolicy] = {}
        """What is in force."""
        self.grants: dict[SandboxName, Sequence[Grant]] = {}
        """Beside the policies."""
        self._decisions = dict(decisions or {})
        self._on_call = on_call
        self._listeners: dict[SandboxName, Listeners] = {}

    async def open(
        self,
        name: SandboxName,
        listeners: Listeners,
        policy: NetworkPolicy,
        report: Callable[[EgressTold], None],
        grants: Sequence[Grant] = (),
        find_asker: FindAsker | None = None,
    ) -> None:
        """See `protocols.Egress`."""
        assert listeners.proxy, f"egress opened for {name} without listeners"
        try:
            _check_policy(policy)
            await self._tell(name, f"egress {policy.mode} in {policy.phase}{_with(grants)}")
        except BaseException:
            _close(listeners)
            raise
        self._forget(name)
        self._listeners[name] = listeners
        self.policies[name] = policy
        self.grants[name] = grants
        for record in self._decisions.get(policy.phase, ()):
            assert record.phase is policy.phase, f"a decision of {record.phase} is scripted for {policy.phase}"
            report(record)

    async def close(self, name: SandboxName) -> None:
        """See `protocols.Egress`."""
        await self._tell(name, "egress closed")
        self._forget(name)

    def _forget(self, name: SandboxName) -> None:
        self.policies.pop(name, None)
        self.grants.pop(name, None)
        if former := self._listeners.pop(name, None):
            _close(former)

    async def _tell(self, name: SandboxName, call: str) -> None:
        if self._on_call is not None:
            await self._on_call(name, call)


def _with(grants: Sequence[Grant]) -> str:
    return f" with {', '.join(grant.name for grant in grants)}" if grants else ""


def _check_policy(policy: NetworkPolicy) -> None:
    try:
        canonical = tuple(parse_domain(domain) for domain in (*policy.allow, *policy.deny))
    except ValueError as error:
        raise EgressError(f"The network policy of {policy.environment!r} has a wrong domain: {error}") from error
    if canonical != (*policy.allow, *policy.deny):
        raise EgressError(f"The network policy of {policy.environment!r} is not canonical: {policy.allow}")


def _close(listeners: Listeners) -> None:
    for descriptor in listeners.descriptors():
        os.close(descriptor)  # fails for one that is not ours: closed twice, or never opened


def _conforms(egress: FakeEgress) -> Egress:
    return egress
