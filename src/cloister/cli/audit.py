"""`cloister audit`: who asked for which change, and what was refused to whom."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from cloister.cli.options import JsonOption
from cloister.cli.session import ask
from cloister.cli.terminal import output_console, print_table
from cloister.errors import UsageError
from cloister.model.quantity import parse_duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloister.model.audit import AuditEntry


def audit(
    context: typer.Context,
    who: Annotated[str | None, typer.Option(metavar="NAME", help="Only what a caller of that name asked for.")] = None,
    action: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only operations whose names begin so, such as tokens.")
    ] = None,
    since: Annotated[str | None, typer.Option(metavar="DURATION", help="Only the last 90m, 7d, ...")] = None,
    refused: Annotated[bool, typer.Option("--refused", help="Only what was refused.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """Show who asked for which change, newest first, and what was refused to whom. Values are never shown.

    Example:  cloister audit --since 7d --action tokens
    Example:  cloister audit --refused --json
    """
    from cloister.model.audit import AuditFilter

    wanted = AuditFilter(who=who, action=action, since=_since(since), refused=refused)
    entries = ask(context, lambda client: client.audit(wanted, limit=limit))
    if as_json:
        _print_json(entries)
        return
    rows = [_row(entry) for entry in entries]
    print_table(output_console(), ("when", "who", "by", "from", "what", "about", "fields", "status"), rows)


def _row(entry: "AuditEntry") -> tuple[str, ...]:
    about = " ".join(f"{name}={value}" for name, value in entry.about.items())
    what = entry.action or f"{entry.method} {entry.path}"
    named = entry.path if entry.action else ""
    return (
        f"{entry.at.astimezone():%Y-%m-%d %H:%M:%S}",
        entry.who or "-",
        entry.by or "-",
        entry.address or "-",
        what,
        " ".join(part for part in (named, about) if part) or "-",
        " ".join(entry.fields) or "-",
        str(entry.status),
    )


def _since(text: str | None) -> datetime | None:
    try:
        return None if text is None else datetime.now(UTC) - timedelta(seconds=parse_duration(text))
    except ValueError as error:
        raise UsageError(f"--since {text}: {error}") from error


def _print_json(entries: "Sequence[AuditEntry]") -> None:
    from dataclasses import asdict

    from cloister.cli.json_lines import to_json

    typer.echo(to_json([{**asdict(entry), "at": entry.at.isoformat()} for entry in entries]))
