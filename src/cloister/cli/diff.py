"""`cloister diff` and `cloister apply`: the change that a task made."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cloister.cli.options import AttemptOption, JsonOption, TaskArgument, TurnOption
from cloister.cli.session import ask
from cloister.cli.terminal import neutralize, output_console, print_line, print_lines
from cloister.cli.work_tree import apply_diff, find_work_tree
from cloister.errors import UsageError

if TYPE_CHECKING:
    from rich.text import Text


def diff(
    context: typer.Context,
    task: TaskArgument,
    attempt: AttemptOption = None,
    turn: TurnOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the change that a task made, with all its turns, as git writes it.

    Example:  cloister diff 0g2x > change.patch
    """
    change = ask(context, lambda client: client.change(task, attempt=attempt, turn=turn))
    console = output_console()
    if as_json:
        from cloister.cli.json_lines import change_to_json, to_json

        typer.echo(to_json(change_to_json(change)))
    elif console.is_terminal:
        print_diff(change.diff)
    else:
        sys.stdout.buffer.write(change.diff)
        sys.stdout.buffer.flush()


def print_diff(diff: bytes) -> None:
    """Print a diff for people: in colour on a terminal, and with nothing that a terminal would obey."""
    print_lines(output_console(), [_coloured(line) for line in diff.decode(errors="replace").split("\n")])


def apply(
    context: typer.Context,
    task: TaskArgument,
    attempt: AttemptOption = None,
    turn: TurnOption = None,
    three_way: Annotated[
        bool, typer.Option("--3way", help="Merge where it does not fit; may leave conflict markers.")
    ] = False,
) -> None:
    """Put the change that a task made into the work tree of the current directory.

    A change that does not fit is refused, and nothing is touched.

    Example:  cloister apply 0g2x
    """
    from cloister.narration import stats_to_text

    work_tree = find_work_tree(Path.cwd())
    if work_tree is None:
        raise UsageError(f"{Path.cwd()} is in no work tree", hint="change into the one that shall be changed")
    change = ask(context, lambda client: client.change(task, attempt=attempt, turn=turn))
    said = apply_diff(work_tree, change.diff, three_way=three_way) if change.diff else ""
    console = output_console()
    if said:
        print_line(console, neutralize(said))
    stats = change.stats
    print_line(console, f"{stats_to_text(stats.files, stats.added, stats.removed)} in {work_tree}")


def _coloured(line: str) -> "Text":
    from rich.text import Text

    styles = (("+++", "bold"), ("---", "bold"), ("diff ", "bold"), ("@@", "cyan"), ("+", "green"), ("-", "red"))
    style = next((style for start, style in styles if line.startswith(start)), "")
    return Text(neutralize(line), style=style)
