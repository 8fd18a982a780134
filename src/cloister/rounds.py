"""The agent and output phases: the agent works, its change is taken out and checked, in one round or several."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import anyio
import structlog

from cloister.briefing import brief
from cloister.deadline import seconds_until
from cloister.ending import Ending
from cloister.errors import CloisterError, SandboxError
from cloister.journal import Journal
from cloister.model.agent import AgentTurn
from cloister.model.check import ChecksState, report_of, state_of
from cloister.model.conversation import conversation_to_text, session_named
from cloister.model.event import SnapshotDigested
from cloister.model.pack import Pack, not_installed
from cloister.model.phase import Phase
from cloister.model.sandbox import clean_room_of
from cloister.model.secret import Grant
from cloister.model.task import CANCELLED, CHECK, Attempt, Outcome, Task, Verdict
from cloister.model_roster import OpenModel
from cloister.model_watch import ModelWatch
from cloister.phases import agent, final_disk, output, verify
from cloister.phases.provision import Provisioned
from cloister.protocols import (
    Agent,
    AgentPacks,
)
from cloister.sandbox_network import open_agents_network, told_of
from cloister.tools import Tools

_log = structlog.get_logger(__name__)


async def work_in_rounds(
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
            await open_agents_network(attempt, provisioned, granted, tools, journal, report=watch.hear)
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
                seconds_left=seconds_until(ends_at),
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
        journal.record(told_of(policy))
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


async def _mark_used(provisioned: Provisioned, tools: Tools, journal: Journal) -> None:
    """Say that the disk was of use, and what it was. A start waits for neither, and until now it is in use."""
    try:
        if (stands_on := provisioned.sandbox.stands_on) is not None:
            await tools.catalog.mark_used({stands_on, provisioned.recipe.key}, datetime.now(UTC))
            if (digest := await tools.backend.digest_of_snapshot(stands_on)) is not None:
                journal.record(SnapshotDigested(key=stands_on, digest=digest))
    except CloisterError as error:
        _log.error("the use of a snapshot was not written down", error=str(error))
