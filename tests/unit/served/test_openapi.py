"""What the OpenAPI document says is what happens: schemathesis tries every operation, also in sequences."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import anyio
import pytest
import schemathesis
from schemathesis import engine
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events
from schemathesis.python import asgi
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cloister import wiring
from cloister.api.app import make_app
from cloister.api.guard import Guard
from cloister.api.wire import BUNDLE, PREFIX
from cloister.forges.fake import FakeForge, FakeRepository
from cloister.model.sandbox import Commit
from cloister.model.token import Role
from cloister.settings import Settings

from ..cli.conftest import Installation

ADDRESS = "https://git.example/team/project.git"
"""As the document's examples name it."""
MOST_SECONDS = 20
EXAMPLES = 3
"""Of each operation, beside those that cover its description."""
FINE = ["2xx", 401, 403, 404, 409, 422, 429]
"""For a request that is as described: what a git ref is, or a host, is more than a description can say."""


schemathesis.serializer.alias(BUNDLE, "application/octet-stream")


class Opened:
    """An application with a worker, open from its first request to the end. Its one repository is scripted."""

    token: str

    def __init__(self, settings: Settings, *, broken: bool = False) -> None:
        self._settings = settings
        self._broken = broken
        self._app: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            assert self._app is not None
            await self._app(scope, receive, self._breaking(send) if self._broken else send)
            return
        await receive()
        async with wiring.open_application(self._settings) as application, anyio.create_task_group() as group:
            forge = FakeForge({ADDRESS: FakeRepository(refs={"main": Commit("a" * 40)})})
            environments = replace(application.intake.environments, forge=forge)
            intake = replace(application.intake, forge=forge, environments=environments)
            group.start_soon(replace(application, intake=intake, tools=replace(application.tools, forge=forge)).work)
            _, self.token = await application.tokens.create("all", Role.ADMIN)
            schedules = replace(application.automation.schedules, intake=intake)
            automation = replace(application.automation, schedules=schedules)
            self._app = make_app(intake, application.access, Guard(application.access), automation=automation)
            await send({"type": "lifespan.startup.complete"})
            await receive()
            group.cancel_scope.cancel()
        await send({"type": "lifespan.shutdown.complete"})

    def _breaking(self, send: Send) -> Send:
        async def send_something_else(message: Message) -> None:
            await send({**message, "status": 500} if message.get("status") == 404 else message)

        return send_something_else


@contextmanager
def opened(app: Opened, max_seconds: int) -> Iterator[schemathesis.BaseSchema]:
    config = SchemathesisConfig.from_dict(
        {
            "max-time": max_seconds,
            "seed": 1,
            "checks": {"positive_data_acceptance": {"expected-statuses": FINE}},
            "generation": {"max-examples": EXAMPLES, "database": "none", "deterministic": True},
        }
    )
    try:
        with asgi.get_client(app):
            headers = {"Authorization": f"Bearer {app.token}"}
        config.projects.default.update(headers=headers)
        yield schemathesis.openapi.from_asgi(f"{PREFIX}/openapi.json", app, config=config, headers=headers)
    finally:
        asgi.shutdown_lifespans()


def found_in(schema: schemathesis.BaseSchema) -> tuple[int, list[str]]:
    """How many requests were sent, and what was wrong with their answers."""
    sent, wrong = 0, []
    for event in engine.from_schema(schema).execute():
        if isinstance(event, events.ScenarioFinished):
            sent += len(event.recorder.cases)
            checks = [check for of_case in event.recorder.checks.values() for check in of_case]
            failed = [(check.name, check.failure_info.failure) for check in checks if check.failure_info]
            wrong += [f"{event.phase.value}, {event.label}: {name}: {failure}" for name, failure in failed]
        elif isinstance(event, events.NonFatalError | events.FatalError):
            wrong.append(str(event))
    return sent, wrong


def test_what_the_document_says_is_what_happens(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloister.api.failures.MOST_FAILURES", "1000000/minute")  # it sends many wrong tokens
    installation.state.mkdir()
    with opened(Opened(Settings(state=installation.state)), MOST_SECONDS) as schema:
        sent, wrong = found_in(schema)
    assert not wrong, "\n\n".join(wrong[:10])
    assert sent > 50


def test_what_it_does_not_say_is_found(installation: Installation) -> None:
    installation.state.mkdir()
    with opened(Opened(Settings(state=installation.state), broken=True), 3) as schema:
        _, wrong = found_in(schema)
    assert any("not_a_server_error" in each for each in wrong)
