"""Opens the network of an attempt's sandbox: who may be reached from now on, and who hears of it."""

from collections.abc import Callable, Sequence

from cloister.journal import Journal
from cloister.model.asker import Asker, Connection
from cloister.model.event import PolicyApplied
from cloister.model.network import EgressTold, NetworkPolicy
from cloister.model.phase import Phase
from cloister.model.secret import Grant
from cloister.model.task import Attempt
from cloister.phases.provision import Provisioned
from cloister.tools import Tools


async def open_network(
    policy: NetworkPolicy,
    attempt: Attempt,
    provisioned: Provisioned,
    grants: Sequence[Grant],
    tools: Tools,
    journal: Journal,
    *,
    report: Callable[[EgressTold], None] | None = None,
) -> None:
    """Let the proxy judge by `policy`, with these grants and their doors; `report` hears it in the journal's place."""
    sandbox = provisioned.sandbox

    async def find_asker(connection: Connection) -> Asker | None:
        owner = await sandbox.owner_of(connection)
        return journal.masked_asker(owner) if owner is not None else None

    listeners = sandbox.listeners([grant.door for grant in grants if grant.door is not None])
    await tools.egress.open(
        attempt.sandbox, listeners, policy, report or journal.record_egress, grants, find_asker=find_asker
    )
    journal.record(told_of(policy))


def told_of(policy: NetworkPolicy) -> PolicyApplied:
    """Return the event that says so."""
    return PolicyApplied(
        mode=policy.mode,
        allow=policy.allow,
        deny=policy.deny,
        methods=policy.methods,
        ports=policy.ports,
        audit=policy.audit,
    )


async def open_agents_network(
    attempt: Attempt,
    provisioned: Provisioned,
    grants: Sequence[Grant],
    tools: Tools,
    journal: Journal,
    *,
    report: Callable[[EgressTold], None] | None = None,
) -> None:
    """The same, by the agent's policy."""
    policy = attempt.task.environment.policy(Phase.AGENT, provisioned.registries)
    await open_network(policy, attempt, provisioned, grants, tools, journal, report=report)
