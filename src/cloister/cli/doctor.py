"""`cloister doctor`: whether this machine can run sandboxes, and what to do about it."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from cloister.cli.mending import mend
from cloister.cli.options import JsonOption
from cloister.cli.session import settings_of
from cloister.cli.terminal import neutralize, output_console
from cloister.errors import UsageError

if TYPE_CHECKING:
    from cloister.doctor.finding import Finding

NOT_FIT = 3
_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def doctor(
    context: typer.Context,
    fix: Annotated[
        bool, typer.Option("--fix", help="Install the packages that are missing (Debian, Ubuntu); look again.")
    ] = False,
    sysctls: Annotated[
        bool, typer.Option("--sysctls", help="With --fix: raise kernel settings too, until the machine restarts.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="With --fix: do not ask; without a terminal, go on.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Look at this machine: what sandboxes need, what it cannot enforce, and what to do about it.

    Ends with 3 when no sandbox can run here. Changes nothing without --fix.

    Example:  cloister doctor --fix
    """
    import anyio

    from cloister.cli.json_lines import to_json
    from cloister.doctor.finding import State
    from cloister.wiring import examine_host

    if not fix and (sysctls or yes):
        raise UsageError("--sysctls and --yes are for --fix")
    settings = settings_of(context)
    findings = anyio.run(examine_host, settings)
    if fix and mend(findings, with_sysctls=sysctls, ask=not yes):
        findings = anyio.run(examine_host, settings)
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
