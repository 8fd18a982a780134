"""`cloister demo`: the tour."""

from dataclasses import replace
from typing import Annotated

import typer

from cloister.cli.diff import print_diff
from cloister.cli.exit import code_of_verdict
from cloister.cli.run import run_and_follow
from cloister.cli.session import settings_of
from cloister.cli.terminal import output_console, print_line
from cloister.errors import UsageError

_TOUR = """\
A real project (click, from the package index) has a failing test. The task below runs in a sandbox of its own:
setup has the internet and a secret; the agent, here {agent}, has neither."""
_AGENTS = {"codex": "responses", "claude": "messages"}
"""Those that the tour can be taken with, and the protocol of their model."""


def demo(
    context: typer.Context,
    agent: Annotated[
        str | None,
        typer.Option(metavar="codex|claude", help="A real agent, with a scripted model, in place of a shell script."),
    ] = None,
) -> None:
    """Show the whole of Cloister on a real project: the phases, the refusals, the fix. No key of a model is needed.

    Example:  cloister demo --agent codex
    """
    from cloister.cli.agent import ensure_agent
    from cloister.demo.model import PROVIDER, scripted_model
    from cloister.demo.project import prepare_project
    from cloister.demo.tour import tour_request

    if agent is not None and agent not in _AGENTS:
        raise UsageError(f"--agent {agent}: the tour can be taken with {' or '.join(_AGENTS)}")
    console = output_console()
    print_line(console, _TOUR.format(agent=f"{agent} with a scripted model" if agent else "a shell script"))
    request = tour_request(prepare_project(settings_of(context).state / "demo"))
    if agent is None:
        status = run_and_follow(context, request)
    else:
        ensure_agent(context, agent)
        with scripted_model(_AGENTS[agent]):
            status = run_and_follow(context, replace(request, command=None, agent=agent, model=PROVIDER), embedded=True)
    for attempt in status.attempts:
        if attempt.outcome is not None and attempt.outcome.change is not None:
            print_diff(attempt.outcome.change.diff)
    assert status.verdict is not None
    raise typer.Exit(code_of_verdict(status.verdict))
