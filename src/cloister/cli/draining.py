"""How a server or a worker ends: nothing new starts, and what runs is given its time."""

from typing import TYPE_CHECKING

import anyio
import typer

if TYPE_CHECKING:
    from cloister.cli.follow import Interruption
    from cloister.wiring import Application
    from cloister.worker import Drain


LAST_QUESTIONS_SECONDS = 1.0
"""For those who followed the last attempts to ask what came of them."""


async def work_until_drained(application: "Application", drain: "Drain", worked: anyio.Event) -> None:
    """Run attempts; tell when what ran is over."""
    await application.work(drain=drain)
    worked.set()


async def end_in_time(
    application: "Application", drain: "Drain", worked: anyio.Event, interruption: "Interruption"
) -> None:
    """Wait for an interruption, and then for what runs, as long as the settings and a second interruption allow."""
    await interruption.first()
    application.health.is_draining = True
    drain.ask()
    seconds = application.settings.drain
    if drain.running and seconds:
        typer.echo(f"ending: {_attempts(drain.running)} running, given {seconds:g} s; once more ends at once")
        with anyio.move_on_after(seconds):
            async with anyio.create_task_group() as group:
                group.start_soon(_cancel_at_next, interruption, group.cancel_scope)
                await worked.wait()
                await anyio.sleep(LAST_QUESTIONS_SECONDS)
                group.cancel_scope.cancel()
    if drain.running:
        typer.echo(f"{_attempts(drain.running)} left running in containers, for the next server or worker")


async def _cancel_at_next(interruption: "Interruption", scope: anyio.CancelScope) -> None:
    await interruption.next()
    scope.cancel()


def _attempts(count: int) -> str:
    return f"{count} attempt{'s' if count > 1 else ''}"
