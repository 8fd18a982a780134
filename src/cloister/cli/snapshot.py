"""`cloister snapshot`: the disks that are kept after setup."""

from typing import Annotated

import typer

from cloister.cli.session import ask
from cloister.cli.task import JsonOption
from cloister.cli.terminal import output_console, print_line, print_table

app = typer.Typer(no_args_is_help=True, help="The disks that are kept after setup.\n\nExample:  cloister snapshot list")

_KEY_SHOWN = 12


@app.command("list")
def list_snapshots(context: typer.Context, as_json: JsonOption = False) -> None:
    """List the kept snapshots.

    Example:  cloister snapshot list
    """
    records = ask(context, lambda client: client.snapshots())
    if as_json:
        from cloister.cli.json_lines import snapshot_to_json, to_json

        typer.echo(to_json([snapshot_to_json(record) for record in records]))
        return
    rows = [
        (
            record.key[:_KEY_SHOWN],
            record.environment if record.environment != record.repository else "-",
            record.repository,
            f"{record.created_at.astimezone():%Y-%m-%d %H:%M}",
            f"{record.expires_at.astimezone():%Y-%m-%d %H:%M}",
        )
        for record in records
    ]
    print_table(output_console(), ("snapshot", "environment", "repository", "created", "expires"), rows)


@app.command("rm")
def remove(
    context: typer.Context,
    key: Annotated[str, typer.Argument(metavar="KEY", help="The snapshot's key, or a unique beginning of it.")],
) -> None:
    """Forget a snapshot; the next task runs setup again.

    Example:  cloister snapshot rm 3fa9
    """
    removed = ask(context, lambda client: client.remove_snapshot(key))
    print_line(output_console(), f"removed {removed[:_KEY_SHOWN]}")
