"""Phase 3: the agent works, without secrets, with the network that the environment grants it."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import anyio

from cloister.agent_reader import AgentReader
from cloister.calls_under_way import CallsUnderWay
from cloister.ending import Ending, run_beside
from cloister.journal import Journal
from cloister.model.agent import AgentCommand, AgentTurn
from cloister.model.container import PROMPT_FILE, TIME_LEFT, Foundation, container_variables, work_tree
from cloister.model.event import AgentPrompted, EndRequested, TimeRunningOut
from cloister.model.pack import Pack
from cloister.model.phase import Phase
from cloister.model.sandbox import Command, EndCause, Exit
from cloister.model.task import Task
from cloister.model.universal import in_login_shell
from cloister.protocols import Agent, Process, Sandbox
from cloister.services.follow import follow_with_services
from cloister.services.launch import with_services

AGENT = "agent"
_AFTER_BASHRC = """if [ -x /bin/bash ]; then exec /bin/bash -c 'exec "$0" "$@"' "$0" "$@"; fi; exec "$0" "$@\""""
"""Runs a program that is no shell with what setup has put into ~/.bashrc: some give their commands their own PATH."""
WARNING_SHARE = 0.1
LONGEST_WARNING_SECONDS = 300.0
"""How long before its time is up an agent is told: the last tenth, and at most five minutes."""
GRACE_SECONDS = 2.0
"""For an agent that has to end, to say its last words."""

_REASONS = {
    EndCause.TIMED_OUT: "the agent was stopped at its time limit",
    EndCause.OUTPUT_LIMIT: "the agent was stopped because it printed more than limits.output allows",
    EndCause.OUT_OF_MEMORY: "the agent was killed because the sandbox used more than limits.memory allows",
    EndCause.DISK_FULL: "the agent failed on a full disk: the sandbox wrote all that limits.disk allows",
    EndCause.NO_INODES: "the agent failed on a full disk: the sandbox made as many files as limits.inodes allows",
    EndCause.STUCK: "the agent was stopped because it neither printed nor computed anything for limits.stuck",
    EndCause.STOPPED: "the agent was stopped",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """How a run of the agent ended."""

    ended: Exit
    message: str
    """The last it said to its user, masked; empty where its output tells no messages."""
    session: str | None = None
    """The id under which the agent can resume this conversation, where it tells one."""


async def run(
    turn: AgentTurn,
    agent: Agent,
    sandbox: Sandbox,
    journal: Journal,
    ending: Ending,
    *,
    round: int,
    foundation: Foundation,
    placeholders: Mapping[str, str],
    pack: Pack | None = None,
    given: Path | None,
    seconds_left: float,
    stopped: anyio.Event,
    calls: CallsUnderWay,
) -> Ran:
    """Run the agent to its end, its services beside it, or go on following it when a former worker started it.

    `round` counts from 0; each runs it anew on what it left. It is ended when `stopped` is set, and is not stuck while
    `calls` are under way. TaskFailedError when a service was not ready, so that the agent did not run.
    """
    task = turn.task
    asked, services = agent.command(turn), task.environment.services
    name, log_bytes = _name_in(round), task.environment.limits.output_bytes
    resumed = sandbox.has_started(name)
    command = _command(
        name, turn, asked, foundation, placeholders=placeholders, pack=pack, given=given, seconds_left=seconds_left
    )
    process = await sandbox.start(with_services(command, services))
    if not resumed and asked.prompt != turn.prompt:
        journal.record(AgentPrompted(round=round, text=journal.mask_text(asked.prompt)))
    reader = await _reader(agent, name, journal)
    follow = partial(
        follow_with_services,
        process,
        name,
        services,
        sandbox,
        journal,
        resumed=resumed,
        log_bytes=log_bytes,
        label=f"{name}:" if round else "",
        reader=reader,
    )
    asked_to_end = partial(_stop_when_asked, process, journal, ending)
    warning = partial(_warn, process, journal, seconds_left, task.environment.limits.time_seconds)
    stop = partial(_stop_when, stopped, process)
    ended, _ = await run_beside(follow, asked_to_end, stop, warning, partial(_count_as_awake, process, calls))
    if reader is None:
        return Ran(ended=ended, message="")
    return Ran(ended=ended, message=reader.last_message, session=reader.session)


def _command(
    name: str,
    turn: AgentTurn,
    asked: AgentCommand,
    foundation: Foundation,
    *,
    placeholders: Mapping[str, str],
    pack: Pack | None,
    given: Path | None,
    seconds_left: float,
) -> Command:
    task, text = turn.task, asked.prompt.encode()
    limits = task.environment.limits
    argv = asked.argv if pack is None else ("/bin/sh", "-c", _AFTER_BASHRC, *asked.argv)
    return Command(
        id=name,
        argv=in_login_shell(argv, foundation.path) if foundation.universal else argv,
        variables={**container_variables(task, Phase.AGENT, foundation), **placeholders, **asked.variables},
        cwd=work_tree(task),
        stdin=text,
        files={**asked.files, PROMPT_FILE.rpartition("/")[2]: text},
        packs=pack.place if pack is not None else None,
        timeout_seconds=seconds_left,
        stuck_seconds=limits.stuck_seconds,
        output_bytes=limits.output_bytes,
        read_only_work_tree=turn.ask,
        shell=_shell_for_persons(task, foundation),
        given=given,
    )


async def _stop_when(stopped: anyio.Event, process: Process) -> None:
    await stopped.wait()
    await process.stop(GRACE_SECONDS)


async def _count_as_awake(process: Process, calls: CallsUnderWay) -> None:
    """Whoever waits for the model is not stuck; the egress process has its own limit for a model that is silent."""
    while True:
        await calls.until(any_=True)
        with process.awake():
            await calls.until(any_=False)


def _shell_for_persons(task: Task, foundation: Foundation) -> tuple[str, ...]:
    """Return what somebody gets who looks in while the agent works.

    It starts at the root directory, and changes to the work tree itself: when it runs, nothing of the host is open.
    """
    shell = ("/bin/bash", "-c", 'cd -- "$1" || :; exec /bin/bash', "bash", work_tree(task))
    return in_login_shell(shell, foundation.path) if foundation.universal else shell


async def _reader(agent: Agent, name: str, journal: Journal) -> AgentReader | None:
    parser = agent.parser()
    if parser is None:
        return None
    before = await journal.commands_before(name)
    return AgentReader(parser, name, mask=journal.mask_text, commands_before=before)


async def _warn(process: Process, journal: Journal, seconds_left: float, limit: float) -> None:
    """Say shortly before the time is up that it is; the agent finds a file that says so, see TIME_LEFT."""
    last = min(LONGEST_WARNING_SECONDS, limit * WARNING_SHARE, seconds_left)
    await anyio.sleep(seconds_left - last)
    journal.record(TimeRunningOut(seconds_left=last))
    ends_at = datetime.now(UTC) + timedelta(seconds=last)
    await process.lay(TIME_LEFT.rpartition("/")[2], f"{last:.0f} seconds left, until {ends_at:%H:%M:%S} UTC\n".encode())


async def _stop_when_asked(process: Process, journal: Journal, ending: Ending) -> None:
    asked = await ending.wait()
    journal.record(EndRequested(grace_seconds=asked.grace_seconds, collect=asked.collect))
    await process.stop(asked.grace_seconds)


def round_of(sandbox: Sandbox) -> int:
    """Return the round that a former worker had come to; 0 when there was none."""
    return next(number for number in itertools.count() if not sandbox.has_started(_name_in(number + 1)))


def _name_in(round: int) -> str:
    return f"{AGENT}-{round}" if round else AGENT


def reason_of_failure(ended: Exit) -> str | None:
    """Say why the agent failed, as a sentence; None when it did not."""
    if ended.cause is not EndCause.EXITED:
        return _REASONS[ended.cause]
    return f"the agent ended with status {ended.status}" if ended.status != 0 else None
