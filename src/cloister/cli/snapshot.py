"""`cloister snapshot`: the disks that are kept after setup."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from cloister.cli.exit import CHANGED_DISK
from cloister.cli.image import BuildBar
from cloister.cli.options import JsonOption
from cloister.cli.session import ask
from cloister.cli.terminal import output_console, print_line, print_table
from cloister.model.quantity import size_to_text

if TYPE_CHECKING:
    from datetime import datetime

    from cloister.client import Client
    from cloister.model.snapshot import CheckedDisk


class Compression(StrEnum):
    """How the layers of an exported image are packed."""

    GZIP = "gzip"
    ZSTD = "zstd"


app = typer.Typer(no_args_is_help=True, help="The disks that are kept after setup.\n\nExample:  cloister snapshot list")

_KEY_SHOWN = 12


@app.command("list")
def list_snapshots(context: typer.Context, as_json: JsonOption = False) -> None:
    """List the kept snapshots, newest first. One that stands on another is for one ref alone.

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
            record.ref or "-",
            "-" if record.size_bytes is None else size_to_text(record.size_bytes),
            _time(record.created_at),
            _time(record.last_used_at),
            _time(record.expires_at),
        )
        for record in records
    ]
    columns = ("snapshot", "environment", "repository", "ref", "size", "created", "last used", "expires")
    print_table(output_console(), columns, rows)


def _time(at: "datetime | None") -> str:
    return f"{at.astimezone():%Y-%m-%d %H:%M}" if at is not None else "-"


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


@app.command()
def verify(
    context: typer.Context,
    key: Annotated[str, typer.Argument(metavar="KEY", help="The snapshot's key, or a unique beginning of it.")],
    as_json: JsonOption = False,
) -> None:
    """Read a snapshot, and those that it stands on, and say whether they are what was kept.

    Any byte, name, mode, owner or attribute that differs is found. It ends with 1 then, or when that cannot be told.

    Example:  cloister snapshot verify 3fa9
    """
    disks = ask(context, lambda client: client.check_snapshot(key))
    if as_json:
        from cloister.cli.json_lines import to_json

        typer.echo(to_json([{"key": disk.key, "kept": disk.kept, "found": disk.found} for disk in disks]))
    else:
        for disk in disks:
            print_line(output_console(), f"{disk.key[:_KEY_SHOWN]}: {_said_of(disk)}")
    if any(disk.changed or disk.kept is None for disk in disks):
        raise typer.Exit(CHANGED_DISK)


def _said_of(disk: "CheckedDisk") -> str:
    if disk.kept is None:
        return "its digest is being computed, or could not be; try again in a minute"
    if disk.changed:
        remove = f"cloister snapshot rm {disk.key[:_KEY_SHOWN]}"
        return f"CHANGED since it was kept: its sha256 is {disk.found}, and was {disk.kept}; to be rid of it: {remove}"
    return f"as it was kept, sha256 {disk.kept}"


@app.command()
def export(
    context: typer.Context,
    key: Annotated[str, typer.Argument(metavar="KEY", help="The snapshot's key, or a unique beginning of it.")],
    reference: Annotated[str, typer.Argument(metavar="REFERENCE", help="registry/repository:tag")],
    compression: Annotated[
        Compression, typer.Option(help="gzip is read by every program; zstd is faster, and its layers are smaller.")
    ] = Compression.GZIP,
) -> None:
    """Push a prepared environment to an OCI registry, as an ordinary image.

    Example:  cloister snapshot export 3fa9 localhost:5000/team/web:ready
    """

    async def export_it(client: "Client") -> str:
        with BuildBar() as bar:
            return await client.export_snapshot(key, reference, bar.show, compression=compression.value)

    digest = ask(context, export_it)
    print_line(output_console(), f"pushed {reference}")
    print_line(output_console(), f"with the digest {digest}")
