"""Shells that a user asked for: one in place of the script of setup, the other of the agent."""

from collections.abc import Sequence
from dataclasses import replace

from cloister.deadline import seconds_until
from cloister.journal import Journal
from cloister.model.phase import Phase
from cloister.model.secret import DeliveredSecrets, Grant
from cloister.model.task import Attempt, Outcome, Shell
from cloister.phases import shell
from cloister.phases.provision import Provisioned
from cloister.sandbox_network import open_agents_network, open_network
from cloister.tools import Tools


async def open_in_setup(
    attempt: Attempt,
    asked: Shell,
    provisioned: Provisioned,
    secrets: DeliveredSecrets,
    grants: Sequence[Grant],
    tools: Tools,
    journal: Journal,
    *,
    ends_at: float,
) -> Outcome:
    """Let the user be the script, whether there is one or not: also where it would meet what an agent wrote."""
    task, sandbox = attempt.task, provisioned.sandbox
    placeholders = {grant.name: grant.placeholder for grant in grants}
    trusted = not task.revision.foreign or sandbox.stands_on is None  # a cold disk is at the default branch
    policy = task.environment.policy(Phase.SETUP if trusted else Phase.AGENT, provisioned.registries)
    policy = replace(policy, phase=Phase.SETUP)
    given = secrets.values if trusted else {}
    with journal.phase(Phase.SETUP, network=policy.mode, secrets=sorted(given), brokered=sorted(placeholders)):
        await open_network(policy, attempt, provisioned, grants, tools, journal)
        return await shell.run(
            task,
            asked,
            sandbox,
            journal,
            secrets=given,
            foundation=provisioned.needs.foundation,
            placeholders=placeholders,
            seconds_left=seconds_until(ends_at),
        )


async def open_for_agent(
    attempt: Attempt,
    asked: Shell,
    provisioned: Provisioned,
    grants: Sequence[Grant],
    tools: Tools,
    journal: Journal,
    *,
    ends_at: float,
) -> Outcome:
    """Let the user be the agent."""
    task = attempt.task
    placeholders = {grant.name: grant.placeholder for grant in grants}
    with journal.phase(Phase.AGENT, network=task.environment.network.agent, brokered=sorted(placeholders)):
        await open_agents_network(attempt, provisioned, grants, tools, journal)
        return await shell.run(
            task,
            asked,
            provisioned.sandbox,
            journal,
            secrets={},
            foundation=provisioned.needs.foundation,
            placeholders=placeholders,
            seconds_left=seconds_until(ends_at),
        )
