"""A shell for the user, in the state of a phase: in place of the script of setup, or of the agent."""

import time
from collections.abc import Mapping

from cloister.journal import Journal
from cloister.model.container import Foundation, asked_checkout, container_variables, default_checkout, work_tree
from cloister.model.event import SecretDelivered, SecretRemoved, ShellClosed, ShellOpened
from cloister.model.phase import Phase
from cloister.model.sandbox import Command, EndCause, Exit
from cloister.model.secret import DeliveredSecrets
from cloister.model.task import Outcome, Task, Verdict
from cloister.protocols import Sandbox

SHELL = "shell"

_REASONS = {
    EndCause.TIMED_OUT: "the shell was ended at its time limit",
    EndCause.OUT_OF_MEMORY: "the shell was killed because the sandbox used more than limits.memory allows",
    EndCause.STOPPED: "the shell was stopped",
    EndCause.HUNG_UP: "nobody had the shell's terminal any more",
}


async def run_in_setup(
    task: Task,
    sandbox: Sandbox,
    secrets: DeliveredSecrets,
    journal: Journal,
    *,
    foundation: Foundation,
    placeholders: Mapping[str, str],
    seconds_left: float,
) -> Outcome:
    """Let the user work where the script is about to run: what it finds, what it may reach, the secrets it has.

    On a cold disk that is setup's, at the tip of the default branch; on a kept one maintenance's, at the task's commit.
    """
    names = tuple(sorted(secrets.values))
    resumed = sandbox.has_started(SHELL)
    if not resumed:
        await sandbox.checkout(default_checkout(task) if sandbox.stands_on is None else asked_checkout(task))
        if names:
            journal.record(SecretDelivered(names=names))
    command = Command(
        id=SHELL,
        argv=("/bin/bash", "--norc"),  # as the script, which reads no profile either
        variables={**container_variables(task, Phase.SETUP, foundation), **placeholders, **_of_terminal(task)},
        secrets=secrets.values,
        cwd=work_tree(task),
        timeout_seconds=seconds_left,
        output_bytes=task.environment.limits.output_bytes,
        terminal=True,
    )
    ended = await _run(command, sandbox, journal, resumed=resumed)
    if names:
        journal.record(SecretRemoved(names=names))
    return _outcome_of(ended)


async def run_for_agent(
    task: Task,
    sandbox: Sandbox,
    journal: Journal,
    *,
    foundation: Foundation,
    placeholders: Mapping[str, str],
    seconds_left: float,
) -> Outcome:
    """Let the user work where an agent would: after setup, at the task's commit, without secrets."""
    command = Command(
        id=SHELL,
        argv=("/bin/bash",),
        variables={**container_variables(task, Phase.AGENT, foundation), **placeholders, **_of_terminal(task)},
        cwd=work_tree(task),
        timeout_seconds=seconds_left,
        output_bytes=task.environment.limits.output_bytes,
        terminal=True,
    )
    return _outcome_of(await _run(command, sandbox, journal, resumed=sandbox.has_started(SHELL)))


async def _run(command: Command, sandbox: Sandbox, journal: Journal, *, resumed: bool) -> Exit:
    """Run it to its end, or wait for that when a former worker started it. Nothing of what passes is recorded."""
    started = time.monotonic()
    process = await sandbox.start(command)
    if not resumed:
        journal.record(ShellOpened(command=command.id))
    ended = await process.wait()
    journal.record(ShellClosed(status=ended.status, seconds=time.monotonic() - started))
    return ended


def _of_terminal(task: Task) -> Mapping[str, str]:
    return {"TERM": task.shell.terminal} if task.shell else {}


def _outcome_of(ended: Exit) -> Outcome:
    """Whatever its status: a user who leaves a shell has done what they wanted."""
    match ended.cause:
        case EndCause.EXITED:
            verdict = Verdict.SUCCEEDED
        case EndCause.HUNG_UP:
            verdict = Verdict.CANCELLED
        case _:
            verdict = Verdict.FAILED
    return Outcome(verdict=verdict, reason=_REASONS.get(ended.cause, ""), exit_status=ended.status)
