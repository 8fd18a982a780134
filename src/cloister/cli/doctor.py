"""`cloister doctor`: whether this machine can run sandboxes, and what to do about it."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from cloister.cli.session import settings_of
from cloister.cli.task import JsonOption
from cloister.cli.terminal import neutralize, output_console

if TYPE_CHECKING:
    from cloister.doctor.finding import Finding

NOT_FIT = 3
_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def doctor(context: typer.Context, as_json: JsonOption = False) -> None:
    """Look at this machine: what sandboxes need, what it cannot enforce, and what to do about it.

    Ends with 3 when no sandbox can run here. Changes nothing.

    Example:  cloister doctor
    """
    import anyio

    from cloister.cli.json_lines import to_json
    from cloister.doctor.finding import State
    from cloister.wiring import examine_host

    findings = anyio.run(examine_host, settings_of(context))
    if as_json:
        typer.echo(to_json([asdict(finding) for finding in findings]))
    else:
        _show(findings)
    if any(finding.state is State.FAIL for finding in findings):
        raise typer.Exit(NOT_FIT)


def _show(findings: "Sequence[Finding]") -> None:
    from rich.table import Table
    from rich.text import Text

    console = output_console()
    if not console.is_terminal:
        for finding in findings:
            cells = (finding.state, finding.name, finding.what, finding.do)
            typer.echo("\t".join(neutralize(cell) for cell in cells))
        return
    table = Table("", "what", "found", box=None, pad_edge=False)
    for finding in findings:
        found = Text(neutralize(finding.what))
        if finding.do:
            found.append(f"\n→ {neutralize(finding.do)}", style="cyan")
        table.add_row(Text(finding.state, style=_STYLES[finding.state]), finding.name, found)
    console.print(table)
