"""Shells that a user asked for: one in place of the script of setup, the other of the agent."""

from dataclasses import replace

from cloister.attempt_run import AttemptRun
from cloister.model.phase import Phase
from cloister.model.task import Outcome, Shell
from cloister.phases import shell
from cloister.phases.provision import Provisioned
from cloister.sandbox_network import open_agents_network, open_network


async def open_in_setup(run: AttemptRun, asked: Shell, provisioned: Provisioned) -> Outcome:
    """Let the user be the script, whether there is one or not: also where it would meet what an agent wrote."""
    task, sandbox = run.task, provisioned.sandbox
    trusted = not task.revision.foreign or sandbox.stands_on is None  # a cold disk is at the default branch
    policy = task.environment.policy(Phase.SETUP if trusted else Phase.AGENT, provisioned.registries)
    policy = replace(policy, phase=Phase.SETUP)
    given = run.secrets.values if trusted else {}
    placeholders, grants = run.placeholders, run.grants if trusted else run.grants_of_agent
    brokered = sorted(grant.name for grant in grants)
    with run.journal.phase(Phase.SETUP, network=policy.mode, secrets=sorted(given), brokered=brokered):
        await open_network(run, provisioned, policy, own=grants)
        return await shell.run(
            task,
            asked,
            sandbox,
            run.journal,
            secrets=given,
            foundation=provisioned.needs.foundation,
            placeholders=placeholders,
            seconds_left=run.seconds_left(),
        )


async def open_for_agent(run: AttemptRun, asked: Shell, provisioned: Provisioned) -> Outcome:
    """Let the user be the agent."""
    task, placeholders = run.task, run.placeholders
    brokered = sorted(grant.name for grant in run.grants_of_agent)
    with run.journal.phase(Phase.AGENT, network=task.environment.network.agent, brokered=brokered):
        await open_agents_network(run, provisioned)
        return await shell.run(
            task,
            asked,
            provisioned.sandbox,
            run.journal,
            secrets={},
            foundation=provisioned.needs.foundation,
            placeholders=placeholders,
            seconds_left=run.seconds_left(),
        )
