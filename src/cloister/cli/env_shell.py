"""`cloister env shell`: a shell where a script of setup, or an agent, would run."""

import os
import sys
from collections import Counter
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import typer

from cloister.cli.exit import CANCELLED, code_of_verdict
from cloister.cli.run import new_view
from cloister.cli.session import open_embedded
from cloister.cli.terminal import error_console, neutralize, output_console, print_line
from cloister.errors import UsageError

if TYPE_CHECKING:
    from cloister.cli.follow import Interruption
    from cloister.client import Client
    from cloister.model.event import EgressRefused, RecordedEvent
    from cloister.model.request import Request
    from cloister.model.task import AttemptId, TaskId, TaskStatus
    from cloister.wiring import Application

_DEFAULT_TERMINAL = "xterm"
_MOST_REFUSALS = 20


def check_terminal() -> None:
    """Raise UsageError unless the user sits at one."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError(
            "a shell needs a terminal as its standard input and output",
            hint='for a script: cloister run --command "..." "..."',
        )


def terminal_kind() -> str:
    """What TERM says, or what every terminal understands."""
    return os.environ.get("TERM") or _DEFAULT_TERMINAL


def run_shell(context: typer.Context, request: "Request") -> None:
    """Make the state ready, give the user the shell, and end the command as the shell ended."""
    import anyio

    from cloister.cli.follow import interruptions, unless_interrupted
    from cloister.cli.image import ensure_image

    async def work() -> "tuple[_Session, TaskStatus] | None":
        async with open_embedded(context) as (client, application), interruptions() as interruption:
            task = await unless_interrupted(partial(client.submit, request), interruption)
            if task is None:
                return None
            await unless_interrupted(partial(ensure_image, application), interruption)
            session = _Session(application, client, task.id, interruption)
            async with anyio.create_task_group() as worker:
                worker.start_soon(partial(application.work, task=task.id))
                await session.run()
                worker.cancel_scope.cancel()
            return session, await client.task(task.id)

    ended = anyio.run(work)
    if ended is None:
        print_line(error_console(), "cancelled; nothing was started")
        raise typer.Exit(CANCELLED)
    session, status = ended
    raise typer.Exit(session.finish(status))


class _Session:
    """One shell: the way to it is shown, then the terminal is the shell's, then it is said what was refused."""

    def __init__(
        self, application: "Application", client: "Client", task: "TaskId", interruption: "Interruption"
    ) -> None:
        self._application = application
        self._client = client
        self._task = task
        self._interruption = interruption
        self._refused: Counter[EgressRefused] = Counter()
        self._status: int | None = None

    async def run(self) -> None:
        """Follow the task to its end. Interrupted, it is cancelled."""
        seen = await self._follow_to_shell()
        if seen is not None:
            await self._be_in_shell(seen)

    def finish(self, status: "TaskStatus") -> int:
        """Say how it ended, and return the exit code: the shell's own status when it was left by its user."""
        from cloister.cli.live import verdict_lines
        from cloister.model.task import Verdict
        from cloister.narration import refusal_lines

        console = output_console()
        for refused, times in list(self._refused.items())[:_MOST_REFUSALS]:
            for line in refusal_lines(refused):
                print_line(console, neutralize(line))
            if times > 1:
                print_line(console, f"           {times} times")
        if len(self._refused) > _MOST_REFUSALS:
            print_line(console, f"  ... all of them: cloister egress log {self._task} --refused")
        if self._status is not None:
            print_line(console, f"the shell ended with status {self._status}; nothing of it was kept")
        for told in verdict_lines(status) if status.verdict is not Verdict.SUCCEEDED else ():
            print_line(console, told)
        assert status.verdict is not None
        code = code_of_verdict(status.verdict)
        return self._status if self._status is not None and code == 0 else code

    async def _follow_to_shell(self) -> "RecordedEvent | None":
        """Show what happens until the shell is there; None when it never comes."""
        import anyio

        from cloister.cli.follow import cancel_task_when_interrupted, tick
        from cloister.model.event import ShellOpened

        status = await self._client.task(self._task)
        with new_view(status, as_json=False) as view:
            view.say(f"task {self._task}")
            async with anyio.create_task_group() as group:
                group.start_soon(cancel_task_when_interrupted, self._client, self._task, view, self._interruption)
                group.start_soon(tick, view)
                async for recorded in self._client.events(self._task, follow=True):
                    view.show(recorded)
                    if isinstance(recorded.event, ShellOpened):
                        group.cancel_scope.cancel()
                        return recorded
                group.cancel_scope.cancel()
        return None

    async def _be_in_shell(self, opened: "RecordedEvent") -> None:
        import anyio

        from cloister.model.event import ShellOpened

        assert isinstance(opened.event, ShellOpened)
        assert opened.attempt is not None
        async with anyio.create_task_group() as interrupting:
            interrupting.start_soon(self._cancel_when_interrupted)
            async with anyio.create_task_group() as group:
                group.start_soon(self._collect, opened.seq)
                group.start_soon(self._join, opened.attempt, opened.event.command)
            interrupting.cancel_scope.cancel()

    async def _join(self, attempt: "AttemptId", command: str) -> None:
        from cloister.cli.bridge import join_terminals
        from cloister.model.sandbox import SandboxName

        try:
            terminal = await self._application.backend.open_terminal(SandboxName(attempt), command)
        except UsageError:  # it has ended already: how, the task says
            return
        await join_terminals(terminal)

    async def _collect(self, after: int) -> None:
        """Learn what happens meanwhile, and print nothing: the terminal is the shell's."""
        from cloister.model.event import EgressRefused, ShellClosed

        async for recorded in self._client.events(self._task, after=after, follow=True):
            match recorded.event:
                case EgressRefused() as refused:
                    self._refused[replace(refused, flow=0)] += 1
                case ShellClosed(status=status):
                    self._status = status

    async def _cancel_when_interrupted(self) -> None:
        await self._interruption.first()
        await self._client.cancel(self._task)
