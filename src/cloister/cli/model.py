"""`cloister model`: who answers agents, and the keys for it."""

from dataclasses import asdict
from typing import Annotated

import typer

from cloister.cli.options import JsonOption
from cloister.cli.secret import read_value
from cloister.cli.session import ask
from cloister.cli.terminal import output_console, print_line

app = typer.Typer(
    no_args_is_help=True,
    help="Providers of models, and their keys, which no sandbox ever has.\n\n"
    "Example:  cloister model set-key openai < key",
)

ProviderArgument = Annotated[str, typer.Argument(metavar="PROVIDER", help="Its name, as `cloister model list` shows.")]


@app.command("list")
def list_models(context: typer.Context, as_json: JsonOption = False) -> None:
    """List the providers: protocols, address, model, and where their keys are. Never the keys.

    Those of the settings come first, then those that need no settings.

    Example:  cloister model list
    """
    listed = ask(context, lambda client: client.models())
    if as_json:
        from cloister.cli.json_lines import to_json

        typer.echo(to_json([asdict(one) for one in listed]))
        return
    for one in listed:
        model = f"  {one.model}" if one.model else ""
        key = f"key: {one.key}" if one.key else f"no key: cloister model set-key {one.name}"
        print_line(output_console(), f"{one.name}  {','.join(one.apis)}  {one.base}{model}  {key}")


@app.command("set-key")
def set_key(context: typer.Context, provider: ProviderArgument) -> None:
    """Keep a provider's key in the vault, sealed. It is read from standard input; a terminal does not show it.

    Example:  cloister model set-key anthropic < key
    """
    value = read_value(f"the key of {provider}")
    ask(context, lambda client: client.set_model_key(provider, value))


@app.command("rm-key")
def remove_key(context: typer.Context, provider: ProviderArgument) -> None:
    """Forget a provider's key.

    Example:  cloister model rm-key anthropic
    """
    ask(context, lambda client: client.remove_model_key(provider))
