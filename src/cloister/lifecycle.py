"""One attempt, from provision to teardown. The only place that knows the order of the phases.

| phase     | network                     | variables | secrets                     |
|-----------|-----------------------------|-----------|-----------------------------|
| provision | none                        |           |                             |
| setup     | as `network.setup` says     | set       | in the scripts' containers  |
| agent     | as `network.agent` says     | set       | gone: a new container       |
| output    | none                        | in checks | gone                        |
| teardown  | none                        |           | gone                        |

An attempt of a follow-up that starts from the disk of a former agent has no setup: see `phases.final_disk`.

A brokered secret is in no phase's sandbox: setup and agent see a placeholder, and the proxy has the value.
A shell that a user asked for stands in place of the script of setup, or of the agent, and nothing comes after it.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import anyio
import structlog

from cloister.briefing import brief
from cloister.ending import Ending
from cloister.errors import CloisterError, SandboxError, TaskFailedError, UsageError
from cloister.journal import Journal, open_journal
from cloister.model.agent import AgentTurn
from cloister.model.asker import Asker, Connection
from cloister.model.broker import grants_of, with_grant
from cloister.model.ceiling import UNBOUNDED, Ceiling
from cloister.model.check import ChecksState, report_of, state_of
from cloister.model.conversation import conversation_to_text, session_named
from cloister.model.event import AttemptStarted, PolicyApplied, SnapshotDigested
from cloister.model.network import EgressTold, NetworkMode, NetworkPolicy
from cloister.model.pack import Pack, not_installed
from cloister.model.phase import Phase
from cloister.model.sandbox import SandboxName, clean_room_of
from cloister.model.secret import DeliveredSecrets, Grant
from cloister.model.task import CANCELLED, CHECK, Attempt, Outcome, Shell, Task, Verdict
from cloister.model_roster import ModelRoster, OpenModel
from cloister.model_watch import ModelWatch
from cloister.phases import agent, final_disk, gate, output, provision, setup, shell, teardown, verify
from cloister.phases.provision import Provisioned
from cloister.protocols import (
    Agent,
    AgentPacks,
    AttemptQueue,
    Egress,
    FileStore,
    Forge,
    ImageStore,
    SandboxBackend,
    SnapshotCatalog,
    Vault,
)

TEARDOWN_SECONDS = 60.0
"""Cleanup has its own clock: neither a cancellation nor the attempt's deadline cuts it short."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """The parts that attempts are run with; see `protocols`."""

    queue: AttemptQueue
    images: ImageStore
    forge: Forge
    vault: Vault
    catalog: SnapshotCatalog
    backend: SandboxBackend
    egress: Egress
    agents: Mapping[str, Agent]
    packs: AgentPacks
    files: FileStore
    on_kept: Callable[[], None] = lambda: None
    """Told whenever a snapshot was kept."""
    models: ModelRoster
    """Who answers agents."""
    ceiling: Ceiling = UNBOUNDED
    """What environments get of the network at most, as `egress` was told."""


async def run_attempt(attempt: Attempt, tools: Tools, ending: Ending) -> Outcome:
    """Run the five phases and say how it ended. Whatever fails in between, teardown comes last.

    May be called again for an attempt whose worker died or was stopped: it finds the sandbox and goes on behind
    what already runs there. Therefore a cancellation leaves everything as it is: `end_attempt` tears it down. One whose
    `ending` is asked for ends by itself.
    """
    async with open_journal(attempt, tools.queue, tools.vault) as journal:
        journal.record(AttemptStarted(retry=attempt.retry))
        try:
            outcome = await _provision_to_output(attempt, tools, journal, ending)
        except (TaskFailedError, UsageError) as error:
            hint = journal.mask_text(error.hint or "")
            outcome = Outcome(verdict=Verdict.FAILED, reason=journal.mask_text(str(error)), hint=hint)
        except CloisterError as error:
            _log.warning("attempt errored", attempt=attempt.id, error=str(error))
            outcome = Outcome(verdict=Verdict.ERRORED, reason=journal.mask_text(str(error)))
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


async def _provision_to_output(attempt: Attempt, tools: Tools, journal: Journal, ending: Ending) -> Outcome:
    task, environment = attempt.task, attempt.task.environment
    ends_at = anyio.current_time() + environment.limits.time_seconds
    secrets = await tools.vault.open_for(task)
    journal.mask(secrets)
    gate.refuse_shown_secrets(environment, secrets)
    grants = grants_of(secrets, attempt.id)
    model = await _open_model(attempt, tools)
    if model is not None:
        journal.mask(with_grant(secrets, model.grant))

    with ExitStack() as building:
        with journal.phase(Phase.PROVISION):
            provisioned = await provision.run(
                attempt,
                secrets,
                journal,
                images=tools.images,
                forge=tools.forge,
                catalog=tools.catalog,
                backend=tools.backend,
                building=building,
                now=datetime.now(UTC),
                seconds_left=_seconds_until(ends_at),
            )
        sandbox = provisioned.sandbox
        if task.shell is not None and task.shell.phase is Phase.SETUP:
            building.close()  # nothing of what the user does is kept, so nobody shall wait for it
            return await _shell_in_setup(
                attempt, task.shell, provisioned, secrets, grants, tools, journal, ends_at=ends_at
            )
        is_ready = provisioned.resumed or sandbox.has_started(agent.AGENT) or sandbox.has_started(shell.SHELL)
        if not is_ready:
            await _set_up(attempt, provisioned, secrets, grants, tools, journal, building, ends_at=ends_at)

    if task.shell is not None:
        return await _shell_for_agent(attempt, task.shell, provisioned, grants, tools, journal, ends_at=ends_at)
    with ending.heeded():
        return await _work_in_rounds(attempt, provisioned, grants, model, tools, journal, ending, ends_at=ends_at)


async def _open_model(attempt: Attempt, tools: Tools) -> OpenModel | None:
    """Return the way to the agent's model, before anything is made for an attempt that could not use it."""
    task = attempt.task
    if task.shell is not None or task.agent == CHECK:
        return None
    return await tools.models.open(tools.agents[task.agent].api, task.environment, attempt.id, agent=task.agent)


async def _work_in_rounds(
    attempt: Attempt,
    provisioned: Provisioned,
    grants: Sequence[Grant],
    model: OpenModel | None,
    tools: Tools,
    journal: Journal,
    ending: Ending,
    *,
    ends_at: float,
) -> Outcome:
    """Run the agent, take its change, check it; while checks fail, tell the agent, as often as its limits say.

    Behind a former worker this goes on in the round that it had come to: the agent may run there now.
    """
    task = attempt.task
    adapter = tools.agents[task.agent]
    access, shown = (model.access, str(model)) if model is not None else (None, None)
    briefing = brief(task, tools.ceiling, [grant.name for grant in grants])
    turn, began = replace(_turn_of(attempt, provisioned), access=access, briefing=briefing), datetime.now(UTC)
    watch = ModelWatch(
        model, task.environment.limits, journal, told=await tools.queue.told(attempt) if attempt.retry else ()
    )
    for round_ in itertools.count(agent.round_of(provisioned.sandbox)):
        placeholders = {grant.name: grant.placeholder for grant in grants}
        network = task.environment.network.agent
        with journal.phase(Phase.AGENT, network=network, brokered=sorted(placeholders), model=shown):
            granted = grants if model is None else (*grants, model.grant)
            await _open_agents_network(attempt, provisioned, granted, tools, journal, report=watch.hear)
            if turn.prompt == attempt.prompt:
                began = datetime.now(UTC)
            ran = await agent.run(
                turn,
                adapter,
                provisioned.sandbox,
                journal,
                ending,
                round=round_,
                foundation=provisioned.needs.foundation,
                placeholders=placeholders,
                pack=await _find_pack(adapter, tools.packs),
                given=_given_with(task, tools),
                seconds_left=_seconds_until(ends_at),
                stopped=watch.stopped,
            )
        with journal.phase(Phase.OUTPUT):
            if ending.asked is not None and not ending.asked.collect:
                return Outcome(verdict=Verdict.CANCELLED, reason=CANCELLED, exit_status=ran.ended.status)
            outcome = watch.explain(await _take_output(attempt, ran, provisioned, tools, journal))
            if outcome.verdict is Verdict.SUCCEEDED and _has_checks(task):
                with ending.cuts_short():
                    outcome = await _verify(attempt, outcome, provisioned, round_, tools, journal, ends_at=ends_at)
            is_checked = state_of(outcome.checks) is not ChecksState.FAILED or round_ >= task.environment.limits.rounds
            if is_checked or ending.asked is not None:
                await _keep_final_disk(attempt, outcome, provisioned, tools, journal)
        if ending.asked is not None:
            return outcome.as_cancelled()
        if is_checked:
            return replace(outcome, accepted_to_agent_seconds=(began - attempt.accepted_at).total_seconds())
        turn = replace(turn, prompt=f"{attempt.prompt}\n\n{report_of(outcome.checks)}")
    raise AssertionError("rounds have an end")


def _turn_of(attempt: Attempt, provisioned: Provisioned) -> AgentTurn:
    """The agent goes on with its own conversation where the disk has it, else it is told what was said."""
    task, former = attempt.task, attempt.continues
    session = former.session if former and provisioned.resumed else None
    return AgentTurn(
        task=task,
        prompt=attempt.prompt,
        ask=task.ask,
        files=tuple(file.path for file in task.files),
        images=tuple(file.path for file in task.files if file.image),
        session=session,
        conversation=conversation_to_text(former.conversation) if former and not session else "",
    )


def _has_checks(task: Task) -> bool:
    return bool(task.environment.checks) and task.agent != CHECK and not task.ask


def _given_with(task: Task, tools: Tools) -> Path | None:
    """Return where what came with the prompt lies."""
    folder = tools.files.folder(task.given_owner) if task.files else None
    if task.files and folder is None:
        raise SandboxError(f"the files that came with task {task.id} are not on this node")
    return folder


async def _find_pack(agent: Agent, packs: AgentPacks) -> Pack | None:
    if agent.pack is None:
        return None
    pack = await packs.find(agent.pack.name)
    if pack is None:  # removed since the task was accepted
        raise not_installed(agent.name)
    return pack


async def _keep_final_disk(
    attempt: Attempt, outcome: Outcome, provisioned: Provisioned, tools: Tools, journal: Journal
) -> None:
    kept = await final_disk.keep(
        attempt,
        outcome,
        provisioned.sandbox,
        provisioned.recipe,
        journal,
        catalog=tools.catalog,
        now=datetime.now(UTC),
    )
    if kept:
        tools.on_kept()


async def _take_output(
    attempt: Attempt, ran: agent.Ran, provisioned: Provisioned, tools: Tools, journal: Journal
) -> Outcome:
    """Take out what the agent left, whatever became of it."""
    await tools.egress.close(attempt.sandbox)
    await _mark_used(provisioned, tools, journal)
    collected = await output.run(attempt, provisioned.sandbox, journal, tools.files, said=ran.message)
    reason = agent.reason_of_failure(ran.ended)
    return Outcome(
        verdict=Verdict.FAILED if reason else Verdict.SUCCEEDED,
        reason=reason or "",
        exit_status=ran.ended.status,
        message=collected.message,
        artifacts=collected.artifacts,
        session=session_named(ran.session),
        change=collected.change,
    )


async def _verify(
    attempt: Attempt,
    outcome: Outcome,
    provisioned: Provisioned,
    round_: int,
    tools: Tools,
    journal: Journal,
    *,
    ends_at: float,
) -> Outcome:
    """Return the outcome with what the checks said of its change. What fails of ours there leaves the change."""
    assert outcome.change is not None, "it was collected"
    name = clean_room_of(attempt.sandbox, round_)
    policy = attempt.task.environment.policy(Phase.OUTPUT)
    try:
        sandbox = await tools.backend.create(name, replace(provisioned.spec, beside=attempt.sandbox))
        room = verify.CleanRoom(sandbox=sandbox)
        await tools.egress.open(name, sandbox.listeners(), policy, room.hearing(journal.record_egress))
        journal.record(_told_of(policy))
        results = await verify.run(
            attempt.task,
            outcome.change,
            room,
            provisioned.sandbox,
            journal,
            foundation=provisioned.needs.foundation,
            round_=round_,
            seconds_left=lambda: ends_at - anyio.current_time(),
        )
        await tools.egress.close(name)
    except CloisterError as error:
        return replace(outcome, verdict=Verdict.ERRORED, reason=journal.mask_text(f"the checks did not run: {error}"))
    return replace(outcome, checks=results)


async def _set_up(
    attempt: Attempt,
    provisioned: Provisioned,
    secrets: DeliveredSecrets,
    grants: Sequence[Grant],
    tools: Tools,
    journal: Journal,
    building: ExitStack,
    *,
    ends_at: float,
) -> None:
    """Run the setup phase. Without a script it has neither a network nor secrets."""
    environment, sandbox = attempt.task.environment, provisioned.sandbox
    placeholders = {grant.name: grant.placeholder for grant in grants}
    plan = setup.make_plan(attempt.task, provisioned.needs, provisioned.own, sandbox)
    policy = environment.policy(Phase.SETUP, provisioned.registries)
    of_agent = replace(environment.policy(Phase.AGENT, provisioned.registries), phase=Phase.SETUP)
    trusted = plan.is_trusted(sandbox)
    first = policy if trusted else of_agent
    network, names = (first.mode, sorted(secrets.values) if trusted else []) if plan.runs else (NetworkMode.OFF, [])
    brokered = sorted(placeholders) if plan.runs else []
    with journal.phase(Phase.SETUP, network=network, secrets=names, brokered=brokered):
        if plan.runs:
            await _open_network(first, attempt, provisioned, grants, tools, journal)
        kept = await setup.run(
            attempt.task,
            plan,
            sandbox,
            secrets,
            journal,
            placeholders=placeholders,
            recipe=provisioned.recipe,
            catalog=tools.catalog,
            building=building,
            narrow=lambda: _open_network(of_agent, attempt, provisioned, grants, tools, journal),
            patch=attempt.starting_diff,
            now=datetime.now(UTC),
            seconds_left=_seconds_until(ends_at),
        )
    if kept:
        tools.on_kept()


async def _mark_used(provisioned: Provisioned, tools: Tools, journal: Journal) -> None:
    """Say that the disk was of use, and what it was. A start waits for neither, and until now it is in use."""
    try:
        if (stands_on := provisioned.sandbox.stands_on) is not None:
            await tools.catalog.mark_used({stands_on, provisioned.recipe.key}, datetime.now(UTC))
            if (digest := await tools.backend.digest_of_snapshot(stands_on)) is not None:
                journal.record(SnapshotDigested(key=stands_on, digest=digest))
    except CloisterError as error:
        _log.error("the use of a snapshot was not written down", error=str(error))


async def _shell_in_setup(
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
        await _open_network(policy, attempt, provisioned, grants, tools, journal)
        return await shell.run(
            task,
            asked,
            sandbox,
            journal,
            secrets=given,
            foundation=provisioned.needs.foundation,
            placeholders=placeholders,
            seconds_left=_seconds_until(ends_at),
        )


async def _shell_for_agent(
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
        await _open_agents_network(attempt, provisioned, grants, tools, journal)
        return await shell.run(
            task,
            asked,
            provisioned.sandbox,
            journal,
            secrets={},
            foundation=provisioned.needs.foundation,
            placeholders=placeholders,
            seconds_left=_seconds_until(ends_at),
        )


async def _open_agents_network(
    attempt: Attempt,
    provisioned: Provisioned,
    grants: Sequence[Grant],
    tools: Tools,
    journal: Journal,
    *,
    report: Callable[[EgressTold], None] | None = None,
) -> None:
    policy = attempt.task.environment.policy(Phase.AGENT, provisioned.registries)
    await _open_network(policy, attempt, provisioned, grants, tools, journal, report=report)


def _seconds_until(ends_at: float) -> float:
    left = ends_at - anyio.current_time()
    if left <= 0:
        raise TaskFailedError("limits.time was used up before the agent started")
    return left


async def _open_network(
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
    journal.record(_told_of(policy))


def _told_of(policy: NetworkPolicy) -> PolicyApplied:
    return PolicyApplied(
        mode=policy.mode,
        allow=policy.allow,
        deny=policy.deny,
        methods=policy.methods,
        ports=policy.ports,
        audit=policy.audit,
    )


async def _tear_down(attempt: Attempt, tools: Tools, journal: Journal, *, keeps_disk: bool = False) -> None:
    with anyio.CancelScope(shield=True), anyio.move_on_after(TEARDOWN_SECONDS), journal.phase(Phase.TEARDOWN):
        try:
            await teardown.run(_sandboxes_of(attempt), egress=tools.egress, backend=tools.backend)
            if not keeps_disk:
                await final_disk.forget(attempt, catalog=tools.catalog, backend=tools.backend)
        except (CloisterError, OSError) as error:  # the reaper finds what is left
            _log.error("teardown failed", attempt=attempt.id, error=str(error))


def _sandboxes_of(attempt: Attempt) -> Sequence[SandboxName]:
    """Return the attempt's own, and those in which its change may have been checked."""
    environment = attempt.task.environment
    rounds = range(environment.limits.rounds + 1) if environment.checks else ()
    return [attempt.sandbox, *(clean_room_of(attempt.sandbox, round_) for round_ in rounds)]
