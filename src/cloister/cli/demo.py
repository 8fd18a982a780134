"""`cloister demo`: the tour."""

from dataclasses import replace
from importlib.resources import files
from typing import Annotated

import typer

from cloister.cli.diff import print_diff
from cloister.cli.exit import code_of_verdict
from cloister.cli.run import run_and_follow
from cloister.cli.session import settings_of
from cloister.cli.terminal import output_console, print_line
from cloister.errors import UsageError
from cloister.model.request import EnvironmentText, Request
from cloister.model.secret import SecretValue

_PROMPT = "Short help that is exactly as long as allowed is cut off. Find out why, and fix it."
_SECRET = {"DEMO_TOKEN": SecretValue("demo-token-that-opens-nothing")}
"""The same each time, because a new value is a new environment: the second tour shall start warm."""

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

    if agent is not None and agent not in _AGENTS:
        raise UsageError(f"--agent {agent}: the tour can be taken with {' or '.join(_AGENTS)}")
    package = files("cloister.demo")
    console = output_console()
    print_line(console, _TOUR.format(agent=f"{agent} with a scripted model" if agent else "a shell script"))
    repository = prepare_project(settings_of(context).state / "demo")
    environment = (package / "environment.toml").read_bytes()
    request = Request(
        repository=str(repository),
        prompt=_PROMPT,
        environment=EnvironmentText(source="environment.toml", raw=environment),
        secrets=_SECRET,
    )
    if agent is None:
        status = run_and_follow(context, replace(request, command=(package / "agent.sh").read_text()))
    else:
        ensure_agent(context, agent)
        with scripted_model(_AGENTS[agent]):
            status = run_and_follow(context, replace(request, agent=agent, model=PROVIDER), embedded=True)
    for attempt in status.attempts:
        if attempt.outcome is not None and attempt.outcome.change is not None:
            print_diff(attempt.outcome.change.diff)
    assert status.verdict is not None
    raise typer.Exit(code_of_verdict(status.verdict))
