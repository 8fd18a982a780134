"""One attempt, from provision to teardown. The only place that knows the order of the phases.

| phase     | network                     | variables | secrets                     |
|-----------|-----------------------------|-----------|-----------------------------|
| provision | none                        |           |                             |
| setup     | as `network.setup` says     | set       | in the scripts' containers  |
| agent     | as `network.agent` says     | set       | gone: a new container       |
| output    | none                        | in checks | gone                        |
| teardown  | none                        |           | gone                        |

Agent and output may come again, as long as checks fail and the limits allow another round: see `rounds`.
An attempt of a follow-up that starts from the disk of a former agent has no setup: see `phases.final_disk`.

A brokered secret is in no phase's sandbox: setup and agent see a placeholder, and the proxy has the value.
A shell that a user asked for (`shells`) stands in place of the script of setup, or of the agent, and nothing comes
after it.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime

import anyio
import structlog

from cloister.attempt_run import AttemptRun
from cloister.ending import Ending
from cloister.errors import CloisterError, TaskFailedError, UsageError
from cloister.journal import Journal, open_journal
from cloister.model.broker import grants_of, with_grant
from cloister.model.event import AttemptStarted
from cloister.model.network import NetworkMode
from cloister.model.phase import Phase
from cloister.model.sandbox import SandboxName, clean_room_of
from cloister.model.task import CHECK, Attempt, Outcome, Verdict
from cloister.model_roster import OpenModel
from cloister.phases import agent, final_disk, gate, provision, setup, shell, teardown
from cloister.phases.provision import Provisioned
from cloister.rounds import work_in_rounds
from cloister.sandbox_network import open_network
from cloister.shells import open_for_agent, open_in_setup
from cloister.tools import Tools

TEARDOWN_SECONDS = 60.0
"""Cleanup has its own clock: neither a cancellation nor the attempt's deadline cuts it short."""

_log = structlog.get_logger(__name__)


async def run_attempt(attempt: Attempt, tools: Tools, ending: Ending) -> Outcome:
    """Run the five phases and say how it ended. Whatever fails in between, teardown comes last.

    May be called again for an attempt whose worker died or was stopped: it finds the sandbox and goes on behind
    what already runs there. Therefore a cancellation leaves everything as it is: `end_attempt` tears it down. One whose
    `ending` is asked for ends by itself.
    """
    async with open_journal(attempt, tools.queue, tools.vault) as journal:
        journal.record(AttemptStarted(retry=attempt.retry))
        try:
            outcome = await _provision_to_output(await _begin(attempt, tools, journal, ending))
        except (TaskFailedError, UsageError) as error:
            hint = journal.mask_text(error.hint or "")
            outcome = Outcome(verdict=Verdict.FAILED, reason=journal.mask_text(str(error)), hint=hint)
        except CloisterError as error:
            reason = journal.mask_text(str(error))
            _log.warning("attempt errored", attempt=attempt.id, error=reason)
            outcome = Outcome(verdict=Verdict.ERRORED, reason=reason)
        except Exception:  # a bug of ours; the worker says so
            await _tear_down(attempt, tools, journal)
            raise
        await _tear_down(attempt, tools, journal, keeps_disk=outcome.change is not None)
        return replace(outcome, seconds=dict(journal.seconds))


async def end_attempt(attempt: Attempt, tools: Tools, verdict: Verdict, reason: str) -> Outcome:
    """Tear down an attempt that shall not go on, and return its outcome."""
    async with open_journal(attempt, tools.queue, tools.vault) as journal:
        await _tear_down(attempt, tools, journal)
        return Outcome(verdict=verdict, reason=reason, seconds=dict(journal.seconds))


async def _begin(attempt: Attempt, tools: Tools, journal: Journal, ending: Ending) -> AttemptRun:
    """Open the task's secrets, which from now on nobody reads in the journal."""
    ends_at = anyio.current_time() + attempt.task.environment.limits.time_seconds
    secrets = await tools.vault.open_for(attempt.task)
    journal.mask(secrets)
    gate.refuse_shown_secrets(attempt.task.environment, secrets)
    return AttemptRun(
        attempt=attempt,
        tools=tools,
        journal=journal,
        ending=ending,
        secrets=secrets,
        grants=grants_of(secrets, attempt.id),
        ends_at=ends_at,
    )


async def _provision_to_output(run: AttemptRun) -> Outcome:
    shell_of_user = run.task.shell
    model = await _open_model(run)
    with ExitStack() as building:
        provisioned = await _provision(run, building)
        if shell_of_user is not None and shell_of_user.phase is Phase.SETUP:
            building.close()  # nothing of what the user does is kept, so nobody shall wait for it
            return await open_in_setup(run, shell_of_user, provisioned)
        sandbox = provisioned.sandbox
        is_ready = provisioned.resumed or sandbox.has_started(agent.AGENT) or sandbox.has_started(shell.SHELL)
        if not is_ready:
            await _set_up(run, provisioned, building)

    if shell_of_user is not None:
        return await open_for_agent(run, shell_of_user, provisioned)
    with run.ending.heeded():
        return await work_in_rounds(run, provisioned, model)


async def _open_model(run: AttemptRun) -> OpenModel | None:
    """Return the way to the agent's model, before anything is made for an attempt that could not use it."""
    task, tools = run.task, run.tools
    if task.shell is not None or task.agent == CHECK:
        return None
    api = tools.agents[task.agent].api
    model = await tools.models.open(api, task.environment, run.attempt.id, agent=task.agent)
    if model is not None:
        run.journal.mask(with_grant(run.secrets, model.grant))
    return model


async def _provision(run: AttemptRun, building: ExitStack) -> Provisioned:
    with run.journal.phase(Phase.PROVISION):
        return await provision.run(
            run.attempt,
            run.secrets,
            run.journal,
            images=run.tools.images,
            forge=run.tools.forge,
            catalog=run.tools.catalog,
            backend=run.tools.backend,
            building=building,
            now=datetime.now(UTC),
            seconds_left=run.seconds_left(),
        )


async def _set_up(run: AttemptRun, provisioned: Provisioned, building: ExitStack) -> None:
    """Run the setup phase. Without a script it has neither a network nor secrets."""
    environment, sandbox, placeholders = run.task.environment, provisioned.sandbox, run.placeholders
    plan = setup.make_plan(run.task, provisioned.needs, provisioned.own, sandbox)
    policy = environment.policy(Phase.SETUP, provisioned.registries)
    of_agent = replace(environment.policy(Phase.AGENT, provisioned.registries), phase=Phase.SETUP)
    trusted = plan.is_trusted(sandbox)
    first = policy if trusted else of_agent
    network, names = (first.mode, sorted(run.secrets.values) if trusted else []) if plan.runs else (NetworkMode.OFF, [])
    grants = run.grants if trusted else run.grants_of_agent
    brokered = sorted(grant.name for grant in grants) if plan.runs else []
    with run.journal.phase(Phase.SETUP, network=network, secrets=names, brokered=brokered):
        if plan.runs:
            await open_network(run, provisioned, first, own=grants)
        kept = await setup.run(
            run.task,
            plan,
            sandbox,
            run.secrets,
            run.journal,
            placeholders=placeholders,
            recipe=provisioned.recipe,
            catalog=run.tools.catalog,
            building=building,
            narrow=lambda: open_network(run, provisioned, of_agent, own=run.grants_of_agent),
            patch=run.attempt.starting_diff,
            now=datetime.now(UTC),
            seconds_left=run.seconds_left(),
        )
    if kept:
        run.tools.on_kept()


async def _tear_down(attempt: Attempt, tools: Tools, journal: Journal, *, keeps_disk: bool = False) -> None:
    with anyio.CancelScope(shield=True), anyio.move_on_after(TEARDOWN_SECONDS), journal.phase(Phase.TEARDOWN):
        try:
            await teardown.run(_sandboxes_of(attempt), egress=tools.egress, backend=tools.backend)
            if not keeps_disk:
                await final_disk.forget(attempt, catalog=tools.catalog, backend=tools.backend)
        except (CloisterError, OSError) as error:  # the reaper finds what is left
            _log.error("teardown failed", attempt=attempt.id, error=journal.mask_text(str(error)))


def _sandboxes_of(attempt: Attempt) -> Sequence[SandboxName]:
    """Return the attempt's own, and those in which its change may have been checked."""
    environment = attempt.task.environment
    rounds = range(environment.limits.rounds + 1) if environment.checks else ()
    return [attempt.sandbox, *(clean_room_of(attempt.sandbox, round_) for round_ in rounds)]
