"""`cloister serve`: the server of this machine."""

import sysconfig
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cloister.cli.session import config_of, open_state, settings_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi import FastAPI

    from cloister.api.listening import Ends
    from cloister.settings import Settings
    from cloister.tokens import Tokens
    from cloister.wiring import Application


def serve(
    context: typer.Context,
    listen: Annotated[
        str | None,
        typer.Option(metavar="ADDR", help="Address and port for callers with tokens, such as 127.0.0.1:8450."),
    ] = None,
    tls_certificate: Annotated[
        Path | None, typer.Option("--tls-cert", metavar="FILE", help="Certificate (PEM), to speak HTTPS there.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option("--tls-key", metavar="FILE", help="Its private key (PEM).")] = None,
    slots: Annotated[int | None, typer.Option(min=1, help="Attempts at once; by default as the settings say.")] = None,
    print_unit: Annotated[
        bool, typer.Option("--print-unit", help="Print a unit for systemd that runs it so, and do nothing else.")
    ] = False,
) -> None:
    """Run the server: its API, and a worker, until SIGTERM or Ctrl-C.

    Then no more attempts start, and those that run have the time that the setting `drain` gives. What is not over by
    then goes on in its containers, for the next server.

    Its owner needs no token: commands of the same state directory reach it over the socket in it.

    Example:  cloister serve --listen 127.0.0.1:8450
    """
    if print_unit:
        _print_unit(context, listen)
        return
    import anyio

    from cloister import log
    from cloister.api.listening import Ends, owned_socket, public_socket

    settings = _settings(context, listen, slots, certificate=tls_certificate, key=tls_key)
    with (
        log.logging_to_stderr(settings.log_level, settings.log_format),
        owned_socket(settings.socket) as near,
        public_socket(settings.listen) as far,
    ):
        anyio.run(_serve, settings, Ends(near=near, far=far))


async def _serve(settings: "Settings", ends: "Ends") -> None:
    """Work and answer until somebody asks for the end, and what runs had its time."""
    import anyio
    import anyio.to_thread

    from cloister import wiring
    from cloister.api.listening import answer
    from cloister.api.routes import load_all
    from cloister.cli.draining import end_in_time, work_until_drained
    from cloister.cli.follow import interruptions
    from cloister.worker import Drain

    async with (
        wiring.open_application(settings, measured=True, served=True) as application,
        interruptions() as interruption,
        anyio.create_task_group() as group,
    ):
        drain, worked = Drain(), anyio.Event()
        group.start_soon(work_until_drained, application, drain, worked)
        group.start_soon(application.automation.run)
        group.start_soon(anyio.to_thread.run_sync, load_all)
        group.start_soon(answer, _app_maker(application), application.access, settings, ends)
        await _tell_where(settings, application.tokens)
        await end_in_time(application, drain, worked, interruption)
        group.cancel_scope.cancel()


def _app_maker(application: "Application") -> "Callable[..., FastAPI]":
    """Return what makes the API with all that a server has beside it: pages, logins, other APIs, webhooks."""
    from cloister.api.app import make_app
    from cloister.api.forge_webhook import add_forge_webhook
    from cloister.api.login import add_login
    from cloister.api.oidc_login import add_oidc_login
    from cloister.api.operations import add_operations
    from cloister.codex_api.routes import add_codex
    from cloister.mcp.late import add_mcp
    from cloister.web.routes import add_web

    operations = partial(
        add_operations,
        health=application.health,
        page=application.instruments.page if application.instruments else None,
        readers=application.settings.metrics_access,
    )
    return partial(
        make_app,
        application.intake,
        application.access,
        additions=(add_web, add_login, add_oidc_login, add_codex, add_mcp, add_forge_webhook, operations),
        automation=application.automation,
        settings=application.settings,
    )


async def _tell_where(settings: "Settings", tokens: "Tokens") -> None:
    """Print where the server is, and let the administrator in who has no token yet."""
    from cloister.setting_values import endpoint_to_text

    typer.echo(f"listening at {settings.socket}")
    if settings.listen is not None:
        scheme = "https" if settings.tls_certificate else "http"
        typer.echo(f"listening at {scheme}://{endpoint_to_text(settings.listen)}")
        await _make_first_token(tokens)


def _print_unit(context: typer.Context, listen: str | None) -> None:
    from cloister.cli.unit import unit_text

    settings, config = settings_of(context), config_of(context)
    program = Path(sysconfig.get_path("scripts")) / "cloister"
    unit = unit_text(
        program,
        state=settings.state,
        config=config.absolute() if config else None,
        listen=listen,
        drain_seconds=settings.drain,
    )
    typer.echo(unit, nl=False)


def _settings(
    context: typer.Context, listen: str | None, slots: int | None, *, certificate: Path | None, key: Path | None
) -> "Settings":
    from cloister.api.tls import check_certificate
    from cloister.settings import with_listen

    given = {"slots": slots, "tls_certificate": certificate, "tls_key": key}
    settings = open_state(context)
    settings = settings.with_options({name: value for name, value in given.items() if value is not None})
    check_certificate(settings.tls_certificate, settings.tls_key)
    return with_listen(settings, listen) if listen is not None else settings


async def _make_first_token(tokens: "Tokens") -> None:
    """Let the administrator in who has none yet. It is shown this once."""
    from cloister.model.token import Role

    if not await tokens.list():
        _, text = await tokens.create("first administrator", Role.ADMIN)
        typer.echo(f"token of the first administrator, shown this once: {text}")
