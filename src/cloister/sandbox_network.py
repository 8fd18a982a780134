"""Opens the network of an attempt's sandbox: who may be reached from now on, and who hears of it."""

from collections.abc import Callable, Sequence

from cloister.attempt_run import AttemptRun
from cloister.model.asker import Asker, Connection
from cloister.model.event import PolicyApplied
from cloister.model.network import EgressTold, NetworkPolicy
from cloister.model.phase import Phase
from cloister.model.secret import Grant
from cloister.phases.provision import Provisioned


async def open_network(
    run: AttemptRun,
    provisioned: Provisioned,
    policy: NetworkPolicy,
    *,
    own: Sequence[Grant] | None = None,
    model: Grant | None = None,
    report: Callable[[EgressTold], None] | None = None,
) -> None:
    """Let the proxy judge by `policy`, with the `own` grants (None: all of the run's), the `model`'s, and their doors.

    `report` hears of it in the journal's place.
    """
    sandbox, journal = provisioned.sandbox, run.journal
    own = run.grants if own is None else own
    grants: Sequence[Grant] = own if model is None else (*own, model)

    async def find_asker(connection: Connection) -> Asker | None:
        owner = await sandbox.owner_of(connection)
        return journal.masked_asker(owner) if owner is not None else None

    listeners = sandbox.listeners([grant.door for grant in grants if grant.door is not None])
    await run.tools.egress.open(
        run.attempt.sandbox, listeners, policy, report or journal.record_egress, grants, find_asker=find_asker
    )
    journal.record(told_of(policy))


async def open_agents_network(
    run: AttemptRun,
    provisioned: Provisioned,
    *,
    model: Grant | None = None,
    report: Callable[[EgressTold], None] | None = None,
) -> None:
    """The same, by the agent's policy."""
    policy = run.task.environment.policy(Phase.AGENT, provisioned.registries)
    await open_network(run, provisioned, policy, own=run.grants_of_agent, model=model, report=report)


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
