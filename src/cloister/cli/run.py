"""`cloister run`: give an agent a task and follow it."""

import os
import sys
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated, NoReturn, Protocol

import typer

from cloister.cli.environment_argument import read_choice, read_input
from cloister.cli.exit import CANCELLED, FAILED_CHECKS, code_of_verdict
from cloister.cli.given_files import FileOption, ImageOption, read_uploads
from cloister.cli.options import (
    AgentOption,
    AllowOption,
    AskOption,
    AttemptsOption,
    CommandOption,
    DetachOption,
    EnvOption,
    InternetOption,
    ModelOption,
    NoCacheOption,
    PatchOption,
    PriorityOption,
    PromptArgument,
    RefOption,
    RepoOption,
    RequireChecksOption,
    SecretOption,
    VariableOption,
)
from cloister.cli.session import ask, open_service, start_background_worker
from cloister.cli.terminal import error_console, output_console, print_line
from cloister.cli.work_tree import repository_address
from cloister.errors import UnreachableError, UsageError
from cloister.model.fairness import Priority
from cloister.model.secret import SecretValue

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cloister.cli.live import View
    from cloister.client import Client
    from cloister.model.request import Request
    from cloister.model.task import TaskId, TaskStatus


class MakeView(Protocol):
    """Makes where a task's course is shown."""

    def __call__(self, status: "TaskStatus", *, as_json: bool) -> "View":
        """Return it, for where standard output goes to."""
        ...


def run(
    context: typer.Context,
    prompt: PromptArgument,
    repo: RepoOption = None,
    ref: RefOption = None,
    env: EnvOption = None,
    agent: AgentOption = None,
    model: ModelOption = None,
    command: CommandOption = None,
    attempts: AttemptsOption = 1,
    patch: PatchOption = None,
    var: VariableOption = None,
    secret_from_env: SecretOption = None,
    only_ask: AskOption = False,
    file: FileOption = None,
    image: ImageOption = None,
    require_checks: RequireChecksOption = False,
    internet: InternetOption = None,
    allow: AllowOption = None,
    priority: PriorityOption = Priority.NORMAL,
    no_cache: NoCacheOption = False,
    detach: DetachOption = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one event per line.")] = False,
) -> None:
    """Give a task to an agent, in a sandbox of its own, and follow it.

    Example:  cloister run --command "ruff check --fix ." "fix what the linter finds"
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
        patch=read_input(patch, "patch") if patch else None,
        variables=dict(read_variable(pair) for pair in var or ()),
        secrets={name: _secret(name) for name in secret_from_env or ()},
        internet=internet,
        allow=tuple(allow or ()),
        use_cache=not no_cache,
        ask=only_ask,
        files=read_uploads(file or (), image or ()),
        priority=priority,
    )
    if only_ask and require_checks:
        raise UsageError("no checks run where nothing is changed: leave --require-checks or --ask out")
    if detach:
        task = ask(context, lambda client: client.submit(request))
        detach_task(context, task.id, as_json=as_json)
    else:
        end_as(run_and_follow(context, request, as_json=as_json), require_checks=require_checks)


def read_prompt(prompt: str) -> str:
    """Return what was given, or for `-` what stands on standard input."""
    return sys.stdin.buffer.read().decode(errors="surrogateescape") if prompt == "-" else prompt


def end_as(status: "TaskStatus", *, require_checks: bool) -> NoReturn:
    """End the command as the task did."""
    assert status.verdict is not None
    code = code_of_verdict(status.verdict)
    raise typer.Exit(FAILED_CHECKS if code == 0 and require_checks and not _checks_passed(status) else code)


def _checks_passed(status: "TaskStatus") -> bool:
    """Whether the attempt to show first has checks, and they passed."""
    from cloister.model.check import ChecksState, state_of
    from cloister.model.choice import best_attempt

    outcome = best_attempt(status).outcome
    return outcome is not None and state_of(outcome.checks) is ChecksState.PASSED


def run_and_follow(
    context: typer.Context,
    request: "Request",
    *,
    as_json: bool = False,
    make_view: "MakeView | None" = None,
    embedded: bool = False,
) -> "TaskStatus":
    """Give a task to a server, or run it inside this command, show it to its end, and return where it ended.

    `embedded`: inside this command, whatever servers there are.
    """

    async def submit(client: "Client") -> "TaskId":
        return (await client.submit(request)).id

    return carry_out(context, submit, as_json=as_json, make_view=make_view, embedded=embedded)


def carry_out(
    context: typer.Context,
    submit: "Callable[[Client], Awaitable[TaskId]]",
    *,
    as_json: bool = False,
    make_view: "MakeView | None" = None,
    embedded: bool = False,
) -> "TaskStatus":
    """Submit a task, or a turn of one, to a server or to run in here, show it to its end, and return where it ended."""
    import anyio

    from cloister.cli.follow import follow, interruptions, unless_interrupted
    from cloister.cli.image import ensure_image

    async def work() -> "tuple[View, TaskStatus] | None":
        async with open_service(context, embedded=embedded) as service, interruptions() as interruption:
            client, application = service.client, service.application
            task = await unless_interrupted(partial(submit, client), interruption)
            if task is None:
                return None
            if application is not None and not as_json:  # only now: a request that is refused has built nothing
                await unless_interrupted(partial(ensure_image, application), interruption)
            begun = await client.task(task)
            turn = begun.last_turn
            with (make_view or new_view)(begun, as_json=as_json) as view:
                view.say(f"task {task}" + (f", turn {turn.number}" if turn.number > 1 else ""))
                async with anyio.create_task_group() as worker:
                    if application is not None:
                        worker.start_soon(partial(application.work, task=task))
                    await follow(client, task, view, interruption, after=turn.seq - 1)
                    worker.cancel_scope.cancel()
            return view, await _ended(context, client, task)

    ended = anyio.run(work)
    if ended is None:
        print_line(error_console(), "cancelled; nothing was started")
        raise typer.Exit(CANCELLED)
    view, status = ended
    view.finish(status)
    return status


async def _ended(context: typer.Context, client: "Client", task: "TaskId") -> "TaskStatus":
    """Return where a task ended that was followed to its end; its server may have ended with it."""
    try:
        return await client.task(task, diffs=True)
    except UnreachableError:
        async with open_service(context) as service:
            return await service.client.task(task, diffs=True)


def detach_task(context: typer.Context, task: "TaskId", *, as_json: bool) -> None:
    """Leave an accepted task to a process of its own, and print its id."""
    from cloister.cli.json_lines import to_json

    start_background_worker(context, task)
    typer.echo(to_json({"task": task}) if as_json else task)


def new_view(status: "TaskStatus", *, as_json: bool, raw: bool = False) -> "View":
    """Return the view for where standard output goes to; `raw` as for `Narrator`."""
    from cloister.cli.live import JsonView, LiveView, PlainView, labels_of

    if as_json:
        return JsonView(write_line)
    console = output_console()
    if console.is_terminal:
        return LiveView(console, labels_of(status), lambda: datetime.now(UTC), raw=raw)
    return PlainView(console, labels_of(status), raw=raw)


def write_line(line: str) -> None:
    """Write a line for a program, which reads it at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def read_variable(pair: str) -> tuple[str, str]:
    """Return the name and value of `K=V`. UsageError."""
    name, separator, value = pair.partition("=")
    if not separator:
        raise UsageError(f"--var {pair}: write it as NAME=VALUE")
    return name, value


def _secret(name: str) -> SecretValue:
    value = os.environ.get(name)
    if value is None:
        raise UsageError(f"--secret-from-env {name}: there is no variable {name} in this command's environment")
    return SecretValue(value)
