"""`cloister demo`: the tour."""

from importlib.resources import files

import typer

from cloister.cli.diff import print_diff
from cloister.cli.exit import code_of_verdict
from cloister.cli.run import run_and_follow
from cloister.cli.session import settings_of
from cloister.cli.terminal import output_console, print_line
from cloister.model.request import EnvironmentText, Request
from cloister.model.secret import SecretValue

_PROMPT = "Short help that is exactly as long as allowed is cut off. Find out why, and fix it."
_SECRET = {"DEMO_TOKEN": SecretValue("demo-token-that-opens-nothing")}
"""The same each time, because a new value is a new environment: the second tour shall start warm."""

_TOUR = """\
A real project (click, from the package index) has a failing test. The task below runs in a sandbox of its own:
setup has the internet and a secret; the agent, here a shell script, has neither."""


def demo(context: typer.Context) -> None:
    """Show the whole of Cloister on a real project: the phases, the refusals, the fix.

    Example:  cloister demo
    """
    from cloister.demo.project import prepare_project

    package = files("cloister.demo")
    console = output_console()
    print_line(console, _TOUR)
    repository = prepare_project(settings_of(context).state / "demo")
    environment = (package / "environment.toml").read_bytes()
    request = Request(
        repository=str(repository),
        prompt=_PROMPT,
        environment=EnvironmentText(source="environment.toml", raw=environment),
        command=(package / "agent.sh").read_text(),
        secrets=_SECRET,
    )
    status = run_and_follow(context, request)
    for attempt in status.attempts:
        if attempt.outcome is not None and attempt.outcome.change is not None:
            print_diff(attempt.outcome.change.diff)
    assert status.verdict is not None
    raise typer.Exit(code_of_verdict(status.verdict))
