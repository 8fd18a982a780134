"""`cloister user`: people whom a provider of OpenID Connect knows."""

from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from cloister.cli.options import JsonOption
from cloister.cli.session import ask
from cloister.cli.terminal import output_console, print_line, print_table

if TYPE_CHECKING:
    from cloister.model.user import User

app = typer.Typer(
    no_args_is_help=True,
    help="People whom a provider of OpenID Connect knows.\n\nExample:  cloister user list",
)

UserArgument = Annotated[str, typer.Argument(metavar="ID", help="The user's id, as `user list` shows it.")]


@app.command("list")
def list_users(context: typer.Context, as_json: JsonOption = False) -> None:
    """List who has logged in by the provider, and what they may do.

    Example:  cloister user list
    """
    users = ask(context, lambda client: client.users())
    if as_json:
        from cloister.cli.json_lines import to_json

        typer.echo(to_json([_fields(user) for user in users]))
        return
    rows = [(user.id, user.name, user.role, _state(user), _shown(user.last_login_at)) for user in users]
    print_table(output_console(), ("id", "name", "role", "state", "last login"), rows)


@app.command()
def disable(context: typer.Context, user: UserArgument) -> None:
    """Let nobody in as a user any more, which ends their sessions at once.

    Example:  cloister user disable 3fa90b1c
    """
    found = ask(context, lambda client: client.set_user_disabled(user, disabled=True))
    print_line(output_console(), f"disabled {found.id}, {found.name}")


@app.command()
def enable(context: typer.Context, user: UserArgument) -> None:
    """Let a user in again.

    Example:  cloister user enable 3fa90b1c
    """
    found = ask(context, lambda client: client.set_user_disabled(user, disabled=False))
    print_line(output_console(), f"enabled {found.id}, {found.name}")


def _state(user: "User") -> str:
    return "valid" if user.disabled_at is None else "disabled"


def _shown(at: datetime) -> str:
    return f"{at.astimezone():%Y-%m-%d %H:%M}"


def _fields(user: "User") -> dict[str, object]:
    fields = asdict(user)
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in fields.items()}
