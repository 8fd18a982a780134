"""`cloister pr`: a task's change as a pull request."""

from dataclasses import asdict
from typing import Annotated

import typer

from cloister.cli.options import AttemptOption, JsonOption, TaskArgument
from cloister.cli.session import ask
from cloister.cli.terminal import neutralize, output_console, print_line
from cloister.errors import UsageError


def pr(
    context: typer.Context,
    task: TaskArgument,
    attempt: AttemptOption = None,
    draft: Annotated[bool, typer.Option("--draft", help="Open it as a draft.")] = False,
    label: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Label to give it; repeatable.")] = None,
    ready: Annotated[bool, typer.Option("--ready", help="Let a draft be one to be reviewed.")] = False,
    assignee: Annotated[
        list[str] | None, typer.Option(metavar="LOGIN", help="Person whose it shall be; repeatable.")
    ] = None,
    workflows: Annotated[
        bool, typer.Option("--workflows", help="Also when the change has what the forge runs by itself.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Also when somebody closed the task's pull request without merging it.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Push a task's change to its branch, and open its pull request; after a follow-up, bring both up to date.

    Example:  cloister pr 0g2x --draft
    """
    from cloister.model.publication import PublishOptions

    if draft and ready:
        raise UsageError("a pull request is a draft, or ready: --draft and --ready do not go together")
    options = PublishOptions(
        draft=draft,
        labels=tuple(label or ()),
        workflows=workflows,
        again=again,
        ready=ready,
        assignees=tuple(assignee or ()),
    )
    published = ask(context, lambda client: client.publish(task, attempt=attempt, options=options))
    if as_json:
        from cloister.cli.json_lines import to_json

        typer.echo(to_json(asdict(published)))
        return
    console, pull = output_console(), published.pull_request
    print_line(console, neutralize(f"pushed {pull.branch} ({published.commit[:12]})"))
    state = "opened" if published.opened else "updated"
    print_line(console, neutralize(f"pull request {pull.number} {state}: {pull.address}"))
    for note in published.notes:
        print_line(console, neutralize(f"note: {note}"))
