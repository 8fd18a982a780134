"""`cloister token`: who may call a server from elsewhere."""

import shlex
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cloister.cli.options import JsonOption
from cloister.cli.session import ask
from cloister.cli.terminal import output_console, print_line, print_table
from cloister.errors import UsageError
from cloister.model.quantity import parse_duration
from cloister.model.token import Role

if TYPE_CHECKING:
    from cloister.cli.json_lines import Fields
    from cloister.model.token import Token

app = typer.Typer(
    no_args_is_help=True,
    help="Who may call a server from elsewhere.\n\nExample:  cloister token create ci --role member --expires 90d",
)


@app.command()
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose it is, or what it is for.")],
    role: Annotated[Role, typer.Option(help="What its holder may do.")] = Role.MEMBER,
    expires: Annotated[
        str | None, typer.Option(metavar="DURATION", help="How long it is valid, such as 90d; by default for ever.")
    ] = None,
    codex_home: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write it where `codex cloud` looks for it, and print what to set."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a token, and print it this once: only its digest is kept.

    Example:  cloister token create ci --role member --expires 90d
    Example:  cloister token create laptop --codex-home ~/.codex-cloister
    """
    lifetime = _seconds(expires)
    base = _base_of(context) if codex_home is not None else ""
    about, text = ask(context, lambda client: client.create_token(name, role, lifetime_seconds=lifetime))
    if codex_home is not None:
        _give_to_codex(codex_home, about, text, base)
    elif as_json:
        _print_json({"token": text, **_fields(about)})
    else:
        typer.echo(text)


@app.command("list")
def list_tokens(context: typer.Context, as_json: JsonOption = False) -> None:
    """List the tokens, newest first, also those that nobody is let in with any more.

    Example:  cloister token list
    """
    tokens = ask(context, lambda client: client.tokens())
    if as_json:
        _print_json([_fields(token) for token in tokens])
        return
    now = datetime.now(UTC)
    rows = [(token.id, token.name, token.role, _state(token, now), _shown(token.last_used_at)) for token in tokens]
    print_table(output_console(), ("id", "name", "role", "state", "last used"), rows)


@app.command()
def revoke(
    context: typer.Context,
    token: Annotated[str, typer.Argument(metavar="ID", help="The token's id, as `token list` shows it.")],
) -> None:
    """Let nobody in with a token any more.

    Example:  cloister token revoke 3fa90b1c
    """
    revoked = ask(context, lambda client: client.revoke_token(token))
    print_line(output_console(), f"revoked {revoked.id}, {revoked.name}")


def _base_of(context: typer.Context) -> str:
    """Return the address that `codex cloud` shall talk to. UsageError when there is none."""
    from cloister.cli.session import server_of, settings_of
    from cloister.setting_values import endpoint_to_text

    if server := server_of(context):
        return server.address
    settings = settings_of(context)
    if settings.listen is None:
        raise UsageError(
            "nobody knows at which address the server listens",
            hint="set `listen` in the settings, or say it: cloister --server URL token create ...",
        )
    return f"{'https' if settings.tls_certificate else 'http'}://{endpoint_to_text(settings.listen)}"


def _give_to_codex(home: Path, about: "Token", text: str, base: str) -> None:
    from cloister.codex_api.auth_file import write_auth_file

    path = write_auth_file(home.absolute(), about, text)
    typer.echo(f"# {path} holds the token {about.id}; for your shell:")
    typer.echo(f"export CODEX_HOME={shlex.quote(str(path.parent))}")
    typer.echo(f"export CODEX_CLOUD_TASKS_BASE_URL={shlex.quote(base)}")


def _seconds(expires: str | None) -> float | None:
    try:
        return None if expires is None else parse_duration(expires)
    except ValueError as error:
        raise UsageError(f"--expires {expires}: {error}") from error


def _state(token: "Token", now: datetime) -> str:
    if token.revoked_at is not None:
        return "revoked"
    if not token.is_valid(now):
        return "expired"
    return "valid" if token.expires_at is None else f"valid until {_shown(token.expires_at)}"


def _shown(at: datetime | None) -> str:
    return f"{at.astimezone():%Y-%m-%d %H:%M}" if at is not None else "-"


def _fields(token: "Token") -> "Fields":
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in asdict(token).items()}


def _print_json(value: object) -> None:
    from cloister.cli.json_lines import to_json

    typer.echo(to_json(value))
