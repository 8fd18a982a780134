"""A shell for the user, in the state of a phase: in place of the script of setup, or of the agent."""

import time
from collections.abc import Mapping

from cloister.journal import Journal
from cloister.model.container import Foundation, asked_checkout, container_variables, default_checkout, work_tree
from cloister.model.event import SecretDelivered, SecretRemoved, ShellClosed, ShellOpened
from cloister.model.phase import Phase
from cloister.model.sandbox import Command, EndCause, Exit
from cloister.model.secret import SecretValue
from cloister.model.task import Outcome, Shell, Task, Verdict
from cloister.model.universal import after_script, in_login_shell
from cloister.protocols import Sandbox

SHELL = "shell"

_REASONS = {
    EndCause.TIMED_OUT: "the shell was ended at its time limit",
    EndCause.OUT_OF_MEMORY: "the shell was killed because the sandbox used more than limits.memory allows",
    EndCause.STOPPED: "the shell was stopped",
    EndCause.HUNG_UP: "nobody had the shell's terminal any more",
}


async def run(
    task: Task,
    shell: Shell,
    sandbox: Sandbox,
    journal: Journal,
    *,
    secrets: Mapping[str, SecretValue],
    foundation: Foundation,
    placeholders: Mapping[str, str],
    seconds_left: float,
) -> Outcome:
    """Let the user work where the phase's program is about to run, and has what it has: `secrets` are setup's.

    In setup that is where the script runs: on a cold disk at the tip of the default branch, on a kept one, as for
    maintenance, at the task's commit. Setup has put the work tree where an agent finds it.
    """
    names = tuple(sorted(secrets))
    in_setup = shell.phase is Phase.SETUP
    resumed = sandbox.has_started(SHELL)
    if not resumed:
        if in_setup:
            await sandbox.checkout(default_checkout(task) if sandbox.stands_on is None else asked_checkout(task))
        if names:
            journal.record(SecretDelivered(names=names))
    variables = container_variables(task, shell.phase, foundation)
    command = Command(
        id=SHELL,
        argv=_command_line(foundation, in_setup=in_setup, cold=sandbox.stands_on is None),
        variables={**variables, **placeholders, "TERM": shell.terminal},
        secrets=secrets,
        cwd=work_tree(task),
        timeout_seconds=seconds_left,
        output_bytes=task.environment.limits.output_bytes,
        terminal=True,
    )
    ended = await _run(command, sandbox, journal, resumed=resumed)
    if names:
        journal.record(SecretRemoved(names=names))
    return _outcome_of(ended)


def _command_line(foundation: Foundation, *, in_setup: bool, cold: bool) -> tuple[str, ...]:
    """As the script of setup is started, which reads nothing that an interactive shell does; or as an agent is."""
    command = ("/bin/bash", "--norc") if in_setup else ("/bin/bash",)
    if not foundation.universal:
        return command
    in_shell = in_login_shell(command, foundation.path)
    return after_script(in_shell) if in_setup and cold else in_shell


async def _run(command: Command, sandbox: Sandbox, journal: Journal, *, resumed: bool) -> Exit:
    """Run it to its end, or wait for that when a former worker started it. Nothing of what passes is recorded."""
    started = time.monotonic()
    process = await sandbox.start(command)
    if not resumed:
        journal.record(ShellOpened(command=command.id))
    ended = await process.wait()
    journal.record(ShellClosed(status=ended.status, seconds=time.monotonic() - started))
    return ended


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
