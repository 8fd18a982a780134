"""`cloister secret`: values that setup scripts may see, and nobody else."""

import sys
from typing import Annotated

import typer

from cloister.cli.session import ask
from cloister.cli.task import JsonOption
from cloister.cli.terminal import output_console, print_line
from cloister.cli.work_tree import vault_name
from cloister.errors import UsageError

app = typer.Typer(
    no_args_is_help=True,
    help="Values that setup scripts may see, and nobody else.\n\nExample:  cloister secret set web NPM_TOKEN < token",
)

EnvironmentArgument = Annotated[
    str,
    typer.Argument(
        metavar="ENV", help="Name of an environment; or, for one without a name, its repository: . or a URL."
    ),
]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of the secret, as a variable is named.")]


@app.command("set")
def set_secret(context: typer.Context, environment: EnvironmentArgument, name: NameArgument) -> None:
    """Keep a secret's value, read from standard input; on a terminal it is asked for, and not shown.

    One line end at the end of the value is not part of it.

    Example:  cloister secret set web NPM_TOKEN < token
    """
    value = _read_value(name)
    ask(context, lambda client: client.set_secret(vault_name(environment), name, value))


@app.command("list")
def list_secrets(context: typer.Context, environment: EnvironmentArgument, as_json: JsonOption = False) -> None:
    """List the names of an environment's secrets.

    Example:  cloister secret list web
    """
    names = ask(context, lambda client: client.secret_names(vault_name(environment)))
    if as_json:
        from cloister.cli.json_lines import to_json

        typer.echo(to_json(list(names)))
        return
    for name in names:
        print_line(output_console(), name)


@app.command("rm")
def remove(context: typer.Context, environment: EnvironmentArgument, name: NameArgument) -> None:
    """Forget a secret.

    Example:  cloister secret rm web NPM_TOKEN
    """
    ask(context, lambda client: client.remove_secret(vault_name(environment), name))


def _read_value(name: str) -> str:
    if sys.stdin.isatty():
        return str(typer.prompt(f"value of {name}", hide_input=True, err=True))
    try:
        value = sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"the value of {name} is not UTF-8 text") from error
    return value.removesuffix("\n").removesuffix("\r")
