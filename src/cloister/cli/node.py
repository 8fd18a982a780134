"""`cloister worker` and `cloister clean`: this machine's part in the work."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from cloister.cli.options import JsonOption
from cloister.cli.session import open_application, open_state
from cloister.cli.terminal import output_console, print_line

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

    from cloister.cli.follow import Interruption
    from cloister.wiring import CleanReport


def worker(
    context: typer.Context,
    slots: Annotated[int | None, typer.Option(min=1, help="Attempts at once; by default as the settings say.")] = None,
    until_idle: Annotated[bool, typer.Option("--until-idle", hidden=True)] = False,
    task: Annotated[str | None, typer.Option("--task", hidden=True)] = None,
) -> None:
    """Run waiting tasks until stopped; then those that run have the time that the setting `drain` gives.

    What is not over by then goes on in its containers, for the next worker.

    Example:  cloister worker --slots 8
    """
    import anyio

    from cloister import log, wiring
    from cloister.cli.draining import end_in_time, work_until_drained
    from cloister.cli.follow import interruptions
    from cloister.model.task import TaskId
    from cloister.worker import Drain

    settings = open_state(context)
    if slots is not None:
        settings = settings.model_copy(update={"slots": slots})

    async def work() -> None:
        async with (
            # A worker that ends by itself is one of many in the background, which cannot all have the port.
            wiring.open_application(settings, measured=not until_idle) as application,
            interruptions() as interruption,
            anyio.create_task_group() as group,
        ):
            if until_idle:
                group.start_soon(_stop_when_interrupted, interruption, group)
                await application.work(until_idle=True, task=TaskId(task) if task else None)
            else:
                drain, worked = Drain(), anyio.Event()
                group.start_soon(work_until_drained, application, drain, worked)
                await end_in_time(application, drain, worked, interruption)
            group.cancel_scope.cancel()

    with log.logging_to_stderr(settings.log_level, settings.log_format):
        anyio.run(work)


async def _stop_when_interrupted(interruption: "Interruption", group: "TaskGroup") -> None:
    await interruption.first()
    group.cancel_scope.cancel()


def clean(context: typer.Context, as_json: JsonOption = False) -> None:
    """Remove everything that killed commands left behind, and cancel the tasks that nobody works on.

    Example:  cloister clean
    """
    import anyio

    async def work() -> "CleanReport":
        async with open_application(context, asked_only=True) as application:
            return await application.clean()

    report = asdict(anyio.run(work))
    if as_json:
        from cloister.cli.json_lines import to_json

        typer.echo(to_json(report))
    else:
        print_line(output_console(), ", ".join(f"{name}: {count}" for name, count in report.items()))
