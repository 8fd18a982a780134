"""`cloister secret`: values that setup scripts may see, or the proxy puts into requests, and nobody else sees."""

import sys
from dataclasses import asdict
from typing import Annotated

import typer

from cloister.cli.options import JsonOption
from cloister.cli.session import ask, server_of
from cloister.cli.terminal import output_console, print_line
from cloister.cli.work_tree import vault_name
from cloister.errors import UsageError
from cloister.model.secret import BrokerRule, KeptSecret
from cloister.repository_address import is_path

app = typer.Typer(
    no_args_is_help=True,
    help="Values that setup scripts may see, or that only the proxy may use.\n\n"
    "Example:  cloister secret set web NPM_TOKEN < token",
)

EnvironmentArgument = Annotated[
    str,
    typer.Argument(
        metavar="ENV", help="Name of an environment; or, for one without a name, its repository: . or a URL."
    ),
]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of the secret, as a variable is named.")]


@app.command("set")
def set_secret(
    context: typer.Context,
    environment: EnvironmentArgument,
    name: NameArgument,
    brokered: Annotated[
        bool, typer.Option("--brokered", help="Never in the sandbox: the proxy puts it into requests.")
    ] = False,
    host: Annotated[
        list[str] | None, typer.Option(metavar="H", help="May receive it, with its sub-domains; repeatable.")
    ] = None,
    header: Annotated[str | None, typer.Option(metavar="H", help="The request header that carries it.")] = None,
    format: Annotated[
        str | None, typer.Option(metavar="F", help='The header\'s text: "Bearer {}", or basic:USER for a password.')
    ] = None,
    query: Annotated[str | None, typer.Option(metavar="Q", help="The query parameter, instead of a header.")] = None,
    method: Annotated[
        list[str] | None, typer.Option(metavar="M", help="Only requests of this method; repeatable.")
    ] = None,
    path: Annotated[
        list[str] | None, typer.Option(metavar="P", help="Only this path and those below it; repeatable.")
    ] = None,
) -> None:
    """Keep a secret's value, read from standard input; on a terminal it is asked for, and not shown.

    One line end at the end of the value is not part of it.

    Example:  cloister secret set web NPM_TOKEN < token
    Example:  cloister secret set web GH_PAT --brokered --host api.github.com --header Authorization
    --format "Bearer {}" < token
    """
    if not brokered and (host or header or format or query or method or path):
        raise UsageError("--host, --header, --format, --query, --method and --path are for a secret that is --brokered")
    rule = None
    if brokered:
        rule = BrokerRule(
            hosts=tuple(host or ()),
            header=header,
            format=format or "{}",
            query=query,
            methods=tuple(method) if method else None,
            paths=tuple(path or ("/",)),
        )
    vault = _vault(context, environment)
    value = read_value(name)
    ask(context, lambda client: client.set_secret(vault, name, value, rule))


@app.command("list")
def list_secrets(context: typer.Context, environment: EnvironmentArgument, as_json: JsonOption = False) -> None:
    """List an environment's secrets: names, modes, and which hosts may receive the brokered ones. Never values.

    Example:  cloister secret list web
    """
    vault = _vault(context, environment)
    kept = ask(context, lambda client: client.secrets(vault))
    if as_json:
        from cloister.cli.json_lines import to_json

        typer.echo(to_json([_secret_to_json(secret) for secret in kept]))
        return
    for secret in kept:
        print_line(output_console(), _secret_to_line(secret))


@app.command("rm")
def remove(context: typer.Context, environment: EnvironmentArgument, name: NameArgument) -> None:
    """Forget a secret.

    Example:  cloister secret rm web NPM_TOKEN
    """
    vault = _vault(context, environment)
    ask(context, lambda client: client.remove_secret(vault, name))


def _vault(context: typer.Context, environment: str) -> str:
    """Return the name that ENV means. UsageError for a path of ours that a server elsewhere knows nothing of."""
    name = vault_name(environment)
    if server_of(context) is not None and is_path(name):
        raise UsageError(
            f"{name} is a path of this machine, and its server is another",
            hint="store an environment there, and name it: cloister env create NAME --file FILE",
        )
    return name


@app.command("rotate-key")
def rotate_key(context: typer.Context) -> None:
    """Replace the master key: every value is wrapped anew, and nothing has to be set again.

    Tasks that run, and other processes, go on. The former key stays as FILE.previous, for what was being sealed in
    this moment, until the next replacement or until you delete it.

    Example:  cloister secret rotate-key
    """
    count = ask(context, lambda client: client.rotate_key())
    values = "1 value" if count == 1 else f"{count} values"
    print_line(output_console(), f"the master key is a new one; {values} wrapped anew")


def _secret_to_json(secret: KeptSecret) -> dict[str, object]:
    rule = {} if secret.rule is None else asdict(secret.rule)
    return {"name": secret.name, "mode": secret.mode, **rule}


def _secret_to_line(secret: KeptSecret) -> str:
    """Return `GH_PAT  brokered  GET /repos/me to api.github.com in Authorization`."""
    rule = secret.rule
    if rule is None:
        return f"{secret.name}  {secret.mode}"
    what = " ".join((",".join(rule.methods or ("any request",)), *(path for path in rule.paths if path != "/")))
    place = f"?{rule.query}" if rule.query else rule.header
    return f"{secret.name}  {secret.mode}  {what} to {', '.join(rule.hosts)} in {place}"


def read_value(name: str) -> str:
    """Return a value from standard input, without the line end; from a terminal, unseen. UsageError."""
    if sys.stdin.isatty():
        return str(typer.prompt(f"value of {name}", hide_input=True, err=True))
    try:
        value = sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"the value of {name} is not UTF-8 text") from error
    return value.removesuffix("\n").removesuffix("\r")
