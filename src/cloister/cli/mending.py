"""What `cloister doctor --fix` says before and after it does something. On standard error: findings have the other."""

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import typer
from rich.text import Text

from cloister.cli.terminal import error_console, neutralize, print_line
from cloister.errors import UsageError

if TYPE_CHECKING:
    from cloister.doctor.finding import Finding
    from cloister.doctor.fix import Fix


def mend(findings: "Sequence[Finding]", *, with_sysctls: bool, ask: bool) -> bool:
    """Say what will be done, ask if somebody can be asked, and do it. False when nothing was done.

    Raises UsageError when there is something to do, and neither a yes nor a terminal to ask for it on.
    """
    import anyio

    plan = anyio.run(_plan, findings, with_sysctls)
    _say_plan(plan)
    if plan.is_empty:
        return False
    if ask and not has_terminal():
        raise UsageError("nothing was done: there is no terminal to ask on", hint="go on without asking: --yes")
    if ask and not typer.confirm("go on?", err=True):
        _say("nothing was done")
        return False
    anyio.run(_carry_out, plan)
    return True


def has_terminal() -> bool:
    """Whether somebody can be asked."""
    return sys.stdin.isatty()


async def _plan(findings: "Sequence[Finding]", with_sysctls: bool) -> "Fix":
    from cloister.doctor.facts import read_distribution
    from cloister.doctor.fix import plan_fix
    from cloister.doctor.packages import installed_packages

    named = {package for finding in findings for package in finding.packages}
    return plan_fix(
        findings,
        distribution=read_distribution(),
        installed=await installed_packages(named),
        with_sysctls=with_sysctls,
    )


async def _carry_out(plan: "Fix") -> None:
    from cloister.doctor.packages import install, raise_sysctls

    if plan.packages:
        missing = await install(plan.packages)
        _say_result("installed", [name for name in plan.packages if name not in missing], missing)
    if plan.sysctls:
        low = await raise_sysctls(plan.sysctls)
        raised = {name: value for name, value in plan.sysctls.items() if name not in low}
        _say_result("set", [_settings(raised)] if raised else [], low)


def _say_plan(plan: "Fix") -> None:
    if plan.packages:
        _say(f"will be installed, without starting a service: {' '.join(plan.packages)}")
    if plan.foreign:
        _say(f"not Debian or Ubuntu; install these, or what they are called here: {' '.join(plan.foreign)}")
    if plan.sysctls:
        _say(f"will be set, until the machine restarts: {_settings(plan.sysctls)}")
        _say("to keep that, put these settings into /etc/sysctl.d/cloister.conf, one a line")
    for finding in plan.left:
        _say(f"left to you: {finding.name}: {finding.do}")
    if plan.is_empty:
        _say("there is nothing that --fix would do")


def _settings(sysctls: Mapping[str, int]) -> str:
    return " ".join(f"{name}={value}" for name, value in sysctls.items())


def _say_result(done: str, succeeded: Sequence[str], failed: Sequence[str]) -> None:
    if succeeded:
        _say(f"{done}: {' '.join(succeeded)}")
    if failed:
        _say(f"not {done}: {' '.join(failed)}", style="bold red")


def _say(text: str, style: str = "") -> None:
    print_line(error_console(), Text(neutralize(text), style=style))
