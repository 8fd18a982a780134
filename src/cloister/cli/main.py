"""The command `cloister`."""

from pathlib import Path
from typing import Annotated

import typer

from cloister.cli import (
    agent,
    egress,
    env,
    env_file,
    evidence,
    github,
    image,
    model,
    node,
    record,
    schedule,
    secret,
    snapshot,
    task,
    token,
    user,
    webhook,
)
from cloister.cli.audit import audit
from cloister.cli.backup import backup, restore
from cloister.cli.demo import demo
from cloister.cli.diff import apply, diff
from cloister.cli.doctor import doctor
from cloister.cli.exit import CloisterGroup
from cloister.cli.follow_up import follow_up
from cloister.cli.mcp import mcp
from cloister.cli.pull_request import pr
from cloister.cli.review import review
from cloister.cli.run import run
from cloister.cli.serve import serve
from cloister.cli.session import GlobalOptions

app = typer.Typer(
    name="cloister",
    cls=CloisterGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"cloister {version('cloister')}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Settings file, in place of /etc/cloister and ~/.config/cloister."),
    ] = None,
    server: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Server to talk to, with the token in CLOISTER_TOKEN; else CLOISTER_SERVER."),
    ] = None,
    _version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Print the version.")
    ] = False,
) -> None:
    """Run coding-agent tasks in sandboxes of their own, on your own machines.

    Example:  cloister run --command "make fix" "fix the failing test"
    """
    context.obj = GlobalOptions(config=config, server=server)


app.command()(run)
task.app.command("follow-up")(follow_up)
for one in (evidence.artifacts, evidence.command, evidence.recording):
    task.app.command()(one)
app.add_typer(task.app, name="task")
app.command()(diff)
app.command()(apply)
app.command()(pr)
app.command()(review)
env.app.command("import")(env_file.import_environment)
env.app.command("schema")(env_file.schema)
app.add_typer(env.app, name="env")
app.add_typer(secret.app, name="secret")
app.add_typer(agent.app, name="agent")
app.add_typer(model.app, name="model")
app.add_typer(image.app, name="image")
app.add_typer(snapshot.app, name="snapshot")
app.add_typer(egress.app, name="egress")
app.add_typer(record.app, name="record")
app.add_typer(token.app, name="token")
app.add_typer(schedule.app, name="schedule")
app.add_typer(user.app, name="user")
app.add_typer(webhook.app, name="webhook")
app.command()(audit)
app.add_typer(github.app, name="github")
app.command()(serve)
app.command()(node.worker)
app.command()(node.clean)
app.command()(mcp)
app.command()(backup)
app.command()(restore)
app.command()(doctor)
app.command()(demo)
