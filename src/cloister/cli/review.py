"""`cloister review`: what is wrong with a pull request."""

import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from cloister.cli.environment_argument import read_choice
from cloister.cli.options import AgentOption, DetachOption, JsonOption, ModelOption
from cloister.cli.run import carry_out, detach_task, end_as
from cloister.cli.session import ask
from cloister.cli.terminal import neutralize, output_console, print_line
from cloister.errors import UsageError
from cloister.model.finding import FindingPriority

if TYPE_CHECKING:
    from cloister.client import Client
    from cloister.model.review import Posting
    from cloister.model.task import TaskId

_ADDRESS = re.compile(r"(https?://[^/\s]+/[^/\s]+/[^/\s]+)/pull/([0-9]{1,9})(?:/[a-z]*)?/?")
_TASK = re.compile(r"(?=.*[a-z])[0-9a-z]{4,12}")
"""A task's id, or a beginning of it that is no number."""
_NUMBER = re.compile(r"#?([0-9]{1,9})")


def review(
    context: typer.Context,
    pull_request: Annotated[
        str,
        typer.Argument(
            metavar="URL_OR_NUMBER",
            help="The pull request: its page, or with --repo its number. With --post, a review that is over: its task.",
        ),
    ],
    repo: Annotated[str | None, typer.Option(metavar="URL", help="The repository's address at the forge.")] = None,
    focus: Annotated[str, typer.Option("--for", metavar="TEXT", help="What to look for above all.")] = "",
    lowest: Annotated[
        FindingPriority | None, typer.Option(help="Findings that matter less are left out; by default P1.")
    ] = None,
    incremental: Annotated[
        bool, typer.Option("--incremental", help="Only what came since the last review that was posted.")
    ] = False,
    post: Annotated[bool, typer.Option("--post", help="Post it at the pull request, as comments.")] = False,
    env: Annotated[
        str | None,
        typer.Option(metavar="NAME|FILE", help="The environment, as for `cloister run`."),
    ] = None,
    agent: AgentOption = None,
    model: ModelOption = None,
    command: Annotated[
        str | None, typer.Option(metavar="CMD", help="A command line that reviews, in place of an agent.")
    ] = None,
    detach: DetachOption = False,
    as_json: JsonOption = False,
) -> None:
    """Review a pull request in a sandbox, and print what is wrong. Nothing is posted without --post, or ever approved.

    Example:  cloister review https://github.com/team/shop/pull/12 --for security --post
    """
    from cloister.model.request import ReviewRequest

    if post and _TASK.fullmatch(pull_request):
        _tell(ask(context, lambda client: client.post_review(pull_request)), as_json=as_json)
        return
    repository, number = _read_place(pull_request, repo)
    asked = ReviewRequest(
        repository=repository,
        number=number,
        focus=focus,
        lowest=lowest,
        incremental=incremental,
        post=post and detach,
        environment=read_choice(env),
        agent=agent,
        model=model,
        command=command,
    )

    async def submit(client: "Client") -> "TaskId":
        return (await client.review(asked)).id

    if detach:
        detach_task(context, ask(context, submit), as_json=as_json)
        return
    status = carry_out(context, submit, as_json=as_json)
    if post and any(attempt.outcome and attempt.outcome.review for attempt in status.attempts):
        _tell(ask(context, lambda client: client.post_review(status.task.id)), as_json=as_json)
    end_as(status, require_checks=False)


def _read_place(pull_request: str, repo: str | None) -> tuple[str, int]:
    """Return address and number. UsageError."""
    if match := _ADDRESS.fullmatch(pull_request):
        if repo is not None and repo.rstrip("/").removesuffix(".git") != match[1]:
            raise UsageError(f"{pull_request} is a pull request of {match[1]}, and not of {repo}; leave --repo out")
        return match[1], int(match[2])
    if match := _NUMBER.fullmatch(pull_request):
        if repo is None:
            raise UsageError(
                f"pull request {match[1]} of which repository?", hint="add --repo https://github.com/team/shop"
            )
        return repo, int(match[1])
    raise UsageError(
        f"{pull_request!r} is no pull request", hint="give its page, such as https://github.com/team/shop/pull/12"
    )


def _tell(posting: "Posting", *, as_json: bool) -> None:
    if as_json:
        from cloister.cli.json_lines import to_json

        typer.echo(to_json({"event": "posted", **asdict(posting)}))
        return
    console = output_console()
    done = "was posted before" if posting.again else "posted"
    counts = f"{posting.comments} at their lines, {posting.elsewhere} in its text"
    known = f", {posting.known} said before" if posting.known else ""
    print_line(
        console, neutralize(f"review {done}: {posting.review.address}{'' if posting.again else f' ({counts}{known})'}")
    )
    for note in posting.notes:
        print_line(console, neutralize(f"note: {note}"))
