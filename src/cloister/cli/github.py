"""`cloister github`: what Cloister logs in to GitHub with, and whether that does."""

from dataclasses import asdict
from typing import Annotated

import typer

from cloister.cli.github_setup import setup
from cloister.cli.options import JsonOption
from cloister.cli.secret import read_value
from cloister.cli.session import ask
from cloister.cli.terminal import neutralize, output_console, print_line

app = typer.Typer(
    no_args_is_help=True,
    help="GitHub: Cloister's login there, which no sandbox ever has.\n\nExample:  cloister github set-token < token",
)


app.command()(setup)


@app.command("set-token")
def set_token(context: typer.Context) -> None:
    """Keep a personal token in the vault, sealed. It is read from standard input; a terminal does not show it.

    Example:  cloister github set-token < token
    """
    value = read_value("the token for GitHub")
    ask(context, lambda client: client.set_forge_login("token", value))


@app.command("set-key")
def set_key(context: typer.Context) -> None:
    """Keep the private key of the app that the settings name in the vault, sealed. It is read from standard input.

    Example:  cloister github set-key < key.pem
    """
    value = read_value("the private key of the GitHub App")
    ask(context, lambda client: client.set_forge_login("key", value))


@app.command("set-webhook-secret")
def set_webhook_secret(
    context: typer.Context,
    forget_former: Annotated[
        bool, typer.Option("--forget-former", help="Let the secret so far end at once; else both are good.")
    ] = False,
) -> None:
    """Keep what GitHub signs deliveries of its webhook with in the vault, sealed. It is read from standard input.

    Example:  cloister github set-webhook-secret < secret
    """
    value = read_value("the secret of the webhook")
    ask(context, lambda client: client.set_forge_webhook_secret(value.strip(), forget_former=forget_former))


@app.command()
def deliveries(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many at most.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """List what GitHub told of last, newest first, and what came of it.

    Example:  cloister github deliveries
    """
    found = ask(context, lambda client: client.forge_deliveries(limit=limit))
    if as_json:
        from cloister.cli.json_lines import delivery_to_json, to_json

        typer.echo(to_json([delivery_to_json(one) for one in found]))
        return
    for one in found:
        said = one.outcome if one.next_at is None else f"to be tried again: {one.outcome}" if one.outcome else "waits"
        print_line(output_console(), neutralize(f"{one.arrived_at:%Y-%m-%d %H:%M:%S}  {one.kind}  {one.id}  {said}"))


@app.command()
def doctor(context: typer.Context, as_json: JsonOption = False) -> None:
    """Say as whom Cloister is known at GitHub, and what is missing. Ends with 3 when anything is.

    Example:  cloister github doctor
    """
    login = ask(context, lambda client: client.forge_login())
    if as_json:
        from cloister.cli.json_lines import to_json

        typer.echo(to_json(asdict(login)))
    else:
        console = output_console()
        if login.name:
            print_line(console, neutralize(f"{login.address}: logged in as {login.name}, by {login.kind}"))
        if login.repositories is not None:
            print_line(console, f"repositories: {login.repositories}")
        for what in login.missing:
            print_line(console, neutralize(f"missing: {what}"))
        for what in login.notes:
            print_line(console, neutralize(f"note: {what}"))
    raise typer.Exit(3 if login.missing else 0)


@app.command()
def repositories(
    context: typer.Context,
    query: Annotated[str, typer.Argument(metavar="PART", help="Only those with this in their name.")] = "",
    as_json: JsonOption = False,
) -> None:
    """List the repositories that Cloister's login may use.

    Example:  cloister github repositories shop
    """
    found = ask(context, lambda client: client.forge_repositories(query))
    if as_json:
        from cloister.cli.json_lines import to_json

        typer.echo(to_json([asdict(one) for one in found]))
        return
    for one in found:
        notes = [one.default_branch, *(["private"] if one.private else []), *([] if one.may_push else ["read only"])]
        print_line(output_console(), neutralize(f"{one.address}  {', '.join(notes)}"))
