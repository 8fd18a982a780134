"""`cloister schedule`: tasks at set times."""

from datetime import datetime
from typing import Annotated

import typer

from cloister.cli.environment_argument import read_choice
from cloister.cli.options import (
    AgentOption,
    AllowOption,
    AskOption,
    AttemptsOption,
    CommandOption,
    EnvOption,
    InternetOption,
    JsonOption,
    ModelOption,
    NoCacheOption,
    PriorityOption,
    PromptArgument,
    RepoOption,
    VariableOption,
)
from cloister.cli.run import read_prompt, read_variable
from cloister.cli.session import ask, is_served, server_of, settings_of
from cloister.cli.terminal import error_console, output_console, print_line, print_table
from cloister.cli.work_tree import repository_address
from cloister.model.fairness import Priority
from cloister.model.missed import Missed

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The schedule's name.")]

app = typer.Typer(
    no_args_is_help=True,
    help="Tasks at set times, given by `cloister serve`.\n\n"
    'Example:  cloister schedule create nightly --cron "0 3 * * *" "update the dependencies"',
)


@app.command()
def create(
    context: typer.Context,
    name: NameArgument,
    prompt: PromptArgument,
    cron: Annotated[str, typer.Option(metavar="EXPRESSION", help="Minute, hour, day of month, month, day of week.")],
    timezone: Annotated[
        str, typer.Option(metavar="ZONE", help="Where it is that time, such as Europe/Berlin.")
    ] = "UTC",
    missed: Annotated[
        Missed, typer.Option(help="What becomes of times at which no server ran: one task for all of them, or none.")
    ] = Missed.ONCE,
    repo: RepoOption = None,
    ref: Annotated[
        str | None, typer.Option(metavar="REF", help="Branch or tag, looked up each time; by default as for `run`.")
    ] = None,
    env: EnvOption = None,
    agent: AgentOption = None,
    model: ModelOption = None,
    command: CommandOption = None,
    attempts: AttemptsOption = 1,
    var: VariableOption = None,
    only_ask: AskOption = False,
    internet: InternetOption = None,
    allow: AllowOption = None,
    priority: PriorityOption = Priority.NORMAL,
    no_cache: NoCacheOption = False,
    as_json: JsonOption = False,
) -> None:
    """Have a task given by cron expression, as long as a server runs.

    Example:  cloister schedule create nightly --cron "0 3 * * *" --timezone Europe/Berlin "update the dependencies"
    """
    from cloister.model.request import Request

    request = Request(
        repository=repository_address(repo),
        prompt=read_prompt(prompt),
        ref=ref,
        environment=read_choice(env),
        agent=agent,
        model=model,
        command=command,
        attempts=attempts,
        variables=dict(read_variable(pair) for pair in var or ()),
        internet=internet,
        allow=tuple(allow or ()),
        use_cache=not no_cache,
        ask=only_ask,
        priority=priority,
    )
    made = ask(context, lambda client: client.create_schedule(name, cron, request, timezone=timezone, missed=missed))
    if as_json:
        _print_json(made)
        return
    print_line(output_console(), f"schedule {made.name} is due next at {_shown(made.next_at)}")
    if server_of(context) is None and not is_served(settings_of(context).socket):
        print_line(error_console(), "no server runs: its tasks come once one does (cloister serve)")


@app.command("list")
def list_schedules(context: typer.Context, as_json: JsonOption = False) -> None:
    """List the schedules, and when each is due next.

    Example:  cloister schedule list
    """
    found = ask(context, lambda client: client.schedules())
    if as_json:
        _print_json(found)
        return
    rows = [
        (it.name, it.cron, it.timezone, _shown(it.next_at) if it.next_at else "paused", it.prompt.split("\n")[0])
        for it in found
    ]
    print_table(output_console(), ("name", "cron", "zone", "next", "prompt"), rows)


@app.command()
def runs(context: typer.Context, name: NameArgument, as_json: JsonOption = False) -> None:
    """Show when a schedule was due, newest first, and the task of each time or why there is none.

    Example:  cloister schedule runs nightly
    """
    found = ask(context, lambda client: client.schedule_runs(name))
    if as_json:
        _print_json(found)
        return
    rows = [
        (_shown(run.due_at), run.task or "-", (f"and {run.missed} missed before; " if run.missed else "") + run.reason)
        for run in found
    ]
    print_table(output_console(), ("due", "task", "reason"), rows)


@app.command()
def pause(context: typer.Context, name: NameArgument) -> None:
    """Let no task of a schedule come until it is resumed.

    Example:  cloister schedule pause nightly
    """
    ask(context, lambda client: client.pause_schedule(name))
    print_line(output_console(), f"schedule {name} is paused")


@app.command()
def resume(context: typer.Context, name: NameArgument) -> None:
    """Let the tasks of a paused schedule come again, from now on.

    Example:  cloister schedule resume nightly
    """
    resumed = ask(context, lambda client: client.pause_schedule(name, paused=False))
    print_line(output_console(), f"schedule {name} is due next at {_shown(resumed.next_at)}")


@app.command("rm")
def remove(context: typer.Context, name: NameArgument) -> None:
    """Forget a schedule and its history. Its tasks stay.

    Example:  cloister schedule rm nightly
    """
    ask(context, lambda client: client.remove_schedule(name))
    print_line(output_console(), f"removed {name}")


app.command("add", hidden=True)(create)
app.command("remove", hidden=True)(remove)


def _shown(at: datetime | None) -> str:
    return f"{at.astimezone():%Y-%m-%d %H:%M}" if at is not None else "-"


def _print_json(found: object) -> None:
    from pydantic import TypeAdapter

    from cloister.cli.json_lines import to_json

    typer.echo(to_json(TypeAdapter(object).dump_python(found, mode="json")))
