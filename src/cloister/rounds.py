"""The agent and output phases: the agent works, its change is taken out and checked, in one round or several."""

import itertools
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import anyio
import structlog

from cloister.attempt_run import AttemptRun
from cloister.briefing import brief
from cloister.errors import CloisterError, SandboxError, TaskFailedError
from cloister.model.agent import AgentTurn
from cloister.model.check import ChecksState, report_of, state_of
from cloister.model.conversation import conversation_to_text, session_named
from cloister.model.event import SnapshotDigested
from cloister.model.pack import Pack, not_installed
from cloister.model.phase import Phase
from cloister.model.sandbox import clean_room_of
from cloister.model.task import CANCELLED, CHECK, Attempt, Outcome, Task, Verdict
from cloister.model_roster import OpenModel
from cloister.model_watch import ModelWatch
from cloister.phases import agent, final_disk, output, verify
from cloister.phases.provision import Provisioned
from cloister.protocols import Agent, AgentPacks
from cloister.review_briefing import review_brief
from cloister.sandbox_network import open_agents_network, told_of
from cloister.tools import Tools

_log = structlog.get_logger(__name__)


async def work_in_rounds(run: AttemptRun, provisioned: Provisioned, model: OpenModel | None) -> Outcome:
    """Run the agent, take its change, check it; while checks fail, tell the agent, as often as its limits say.

    Behind a former worker this goes on in the round that it had come to: the agent may run there now.
    """
    attempt, journal, ending, limits = run.attempt, run.journal, run.ending, run.task.environment.limits
    network, brokered = run.task.environment.network.agent, sorted(grant.name for grant in run.grants_of_agent)
    grant, shown = (model.grant, str(model)) if model is not None else (None, None)
    watch = ModelWatch(model, limits, journal, told=await run.tools.queue.told(attempt) if attempt.retry else ())
    turn, began = await _first_turn(run, provisioned, model), datetime.now(UTC)
    for round_ in itertools.count(agent.round_of(provisioned.sandbox)):
        with journal.phase(Phase.AGENT, network=network, brokered=brokered, model=shown):
            await open_agents_network(run, provisioned, model=grant, report=watch.hear)
            if turn.prompt == attempt.prompt:
                began = datetime.now(UTC)
            ran = await _run_agent(run, turn, provisioned, round_, watch=watch)
        with journal.phase(Phase.OUTPUT):
            if ending.asked is not None and not ending.asked.collect:
                return Outcome(verdict=Verdict.CANCELLED, reason=CANCELLED, exit_status=ran.ended.status)
            outcome = watch.explain(await _take_output(run, ran, provisioned))
            if outcome.verdict is Verdict.SUCCEEDED and _has_checks(run.task):
                with ending.cuts_short():
                    outcome = await _verify(run, outcome, provisioned, round_)
            is_checked = state_of(outcome.checks) is not ChecksState.FAILED or round_ >= limits.rounds
            if is_checked or ending.asked is not None:
                await _keep_final_disk(run, outcome, provisioned)
        if ending.asked is not None:
            return outcome.as_cancelled()
        if is_checked:
            return replace(outcome, accepted_to_agent_seconds=(began - attempt.accepted_at).total_seconds())
        turn = replace(turn, prompt=f"{attempt.prompt}\n\n{report_of(outcome.checks)}")
    raise AssertionError("rounds have an end")


async def _run_agent(
    run: AttemptRun, turn: AgentTurn, provisioned: Provisioned, round_: int, *, watch: ModelWatch
) -> agent.Ran:
    adapter = run.tools.agents[run.task.agent]
    pack = await _find_pack(adapter, run.tools.packs)
    with run.tools.packs.held(pack) if pack is not None else nullcontext():
        return await agent.run(
            turn,
            adapter,
            provisioned.sandbox,
            run.journal,
            run.ending,
            round=round_,
            foundation=provisioned.needs.foundation,
            placeholders=run.placeholders,
            pack=pack,
            given=_given_with(run.attempt, run.tools),
            seconds_left=run.seconds_left(),
            stopped=watch.stopped,
            calls=watch.calls,
        )


async def _first_turn(run: AttemptRun, provisioned: Provisioned, model: OpenModel | None) -> AgentTurn:
    """The agent goes on with its own conversation where the disk has it, else it is told what was said."""
    task, former = run.task, run.attempt.continues
    session = former.session if former and provisioned.resumed else None
    return AgentTurn(
        task=task,
        prompt=run.attempt.prompt,
        briefing=await _briefing(run),
        ask=task.ask,
        files=tuple(file.path for file in run.attempt.files),
        images=tuple(file.path for file in run.attempt.files if file.image),
        session=session,
        conversation=conversation_to_text(former.conversation) if former and not session else "",
        access=model.access if model is not None else None,
    )


async def _briefing(run: AttemptRun) -> str:
    task = run.task
    place = brief(task, run.tools.ceiling, [grant.name for grant in run.grants_of_agent])
    if (ask := task.review) is None:
        return place
    head = task.revision.commit
    diff = await run.tools.forge.diff(task.repository, ask.since or ask.base, head)
    return f"{place}\n\n{review_brief(ask, head, diff)}"


def _has_checks(task: Task) -> bool:
    return bool(task.environment.checks) and task.agent != CHECK and not task.ask


def _given_with(attempt: Attempt, tools: Tools) -> Path | None:
    """Return where what came with the prompt lies, and with those before it."""
    folder = tools.files.folder(attempt.given) if attempt.given is not None else None
    if attempt.given is not None and folder is None:
        raise SandboxError(f"the files that came with task {attempt.task.id} are not on this node")
    return folder


async def _find_pack(agent: Agent, packs: AgentPacks) -> Pack | None:
    if agent.pack is None:
        return None
    pack = await packs.find(agent.pack.name)
    if pack is None:  # removed since the task was accepted
        raise not_installed(agent.name)
    return pack


async def _keep_final_disk(run: AttemptRun, outcome: Outcome, provisioned: Provisioned) -> None:
    kept = await final_disk.keep(
        run.attempt,
        outcome,
        provisioned.sandbox,
        provisioned.recipe,
        run.journal,
        catalog=run.tools.catalog,
        now=datetime.now(UTC),
    )
    if kept:
        run.tools.on_kept()


async def _take_output(run: AttemptRun, ran: agent.Ran, provisioned: Provisioned) -> Outcome:
    """Take out what the agent left, whatever became of it."""
    await run.tools.egress.close(run.attempt.sandbox)
    await _mark_used(run, provisioned)
    collected = await output.run(run.attempt, provisioned.sandbox, run.journal, run.tools.files, said=ran.message)
    reason = agent.reason_of_failure(ran.ended)
    nothing = "" if run.task.command is not None or run.task.agent == CHECK else _nothing_done(run, collected)
    outcome = Outcome(
        verdict=Verdict.FAILED if reason else Verdict.SUCCEEDED,
        reason=reason or nothing,
        exit_status=ran.ended.status,
        message=collected.message,
        artifacts=collected.artifacts,
        session=session_named(ran.session),
        change=collected.change,
    )
    return outcome if run.task.review is None or reason else await _with_review(run, outcome, provisioned)


async def _with_review(run: AttemptRun, outcome: Outcome, provisioned: Provisioned) -> Outcome:
    try:
        review = await output.take_review(run.attempt, provisioned.sandbox, run.journal)
    except TaskFailedError as error:
        reason, hint = run.journal.mask_text(str(error)), run.journal.mask_text(error.hint or "")
        return replace(outcome, verdict=Verdict.FAILED, reason=reason, hint=hint)
    return replace(outcome, review=review, reason="")


def _nothing_done(run: AttemptRun, collected: output.Collected) -> str:
    """Say so of an agent that neither changed nor said anything, although it reports no failure."""
    former = run.attempt.continues.diff if run.attempt.continues else b""
    if collected.message.strip() or collected.artifacts or collected.change.diff != former:
        return ""
    return "the agent gave no answer" if run.task.ask else "the agent did nothing: it changed no file and said nothing"


async def _verify(run: AttemptRun, outcome: Outcome, provisioned: Provisioned, round_: int) -> Outcome:
    """Return the outcome with what the checks said of its change. What fails of ours there leaves the change."""
    assert outcome.change is not None, "it was collected"
    tools, journal = run.tools, run.journal
    name = clean_room_of(run.attempt.sandbox, round_)
    policy = run.task.environment.policy(Phase.OUTPUT)
    try:
        sandbox = await tools.backend.create(name, replace(provisioned.spec, beside=run.attempt.sandbox))
        room = verify.CleanRoom(sandbox=sandbox)
        await tools.egress.open(name, sandbox.listeners(), policy, room.hearing(journal.record_egress))
        journal.record(told_of(policy))
        results = await verify.run(
            run.task,
            outcome.change,
            room,
            provisioned.sandbox,
            journal,
            foundation=provisioned.needs.foundation,
            round_=round_,
            seconds_left=lambda: run.ends_at - anyio.current_time(),
        )
        await tools.egress.close(name)
    except CloisterError as error:
        return replace(outcome, verdict=Verdict.ERRORED, reason=journal.mask_text(f"the checks did not run: {error}"))
    return replace(outcome, checks=results)


async def _mark_used(run: AttemptRun, provisioned: Provisioned) -> None:
    """Say that the disk was of use, and what it was. A start waits for neither, and until now it is in use."""
    try:
        if (stands_on := provisioned.sandbox.stands_on) is not None:
            await run.tools.catalog.mark_used({stands_on, provisioned.recipe.key}, datetime.now(UTC))
            if (digest := await run.tools.backend.digest_of_snapshot(stands_on)) is not None:
                run.journal.record(SnapshotDigested(key=stands_on, digest=digest))
    except CloisterError as error:
        _log.error("the use of a snapshot was not written down", error=str(error))
