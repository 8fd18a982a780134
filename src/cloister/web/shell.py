"""A shell in the sandbox of a running attempt, for a terminal on a page.

What it shows is one answer that lasts as long as the shell, whose lines are objects; what is typed comes in requests of
its own. So both pass the same gate as everything else, with the key of the session's pages, and nobody who is let in
no more goes on to type. Whoever goes away hangs up.
"""

import json
import secrets
from base64 import b64encode
from dataclasses import dataclass, field
from typing import Annotated

import anyio
import structlog
from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response
from pydantic import Field
from starlette.types import Receive, Scope, Send

from cloister.access import Access
from cloister.api.body import Body
from cloister.api.caller import Caller, Member
from cloister.api.event_stream import LOOK_AGAIN_SECONDS
from cloister.api.front import FrontDoor
from cloister.entering import Entered, enter
from cloister.errors import ConflictError, NotFoundError
from cloister.model.task import TaskId, TaskState
from cloister.web.chosen import ChosenAttempt
from cloister.web.page import PageRoute

MOST_SHELLS = 32
"""At a time, of everybody."""
TERMINAL = "xterm-256color"
"""What TERM says."""

_LOG = structlog.get_logger(__name__)

router = APIRouter(
    prefix="/tasks", tags=["tasks"], route_class=PageRoute, include_in_schema=False, default_response_class=HTMLResponse
)

Size = Annotated[int, Field(ge=1, le=1000)]


class Opening(Body):
    """The window of a shell that is opened."""

    columns: Size
    rows: Size


class Typed(Body):
    """What somebody did at a terminal."""

    typed: Annotated[str, Field(max_length=64 * 1024)] = ""
    columns: Size | None = None
    rows: Size | None = None


@dataclass(slots=True, kw_only=True)
class Held:
    """A shell that a page has."""

    entered: Entered
    task: TaskId
    by: str
    """What let in who has it; nobody else types there."""

    def resize(self, columns: int, rows: int) -> None:
        """Tell the program and the recording how large its window is."""
        self.entered.shell.resize(columns, rows)
        self.entered.recording.resize(columns, rows)


@dataclass(slots=True)
class Shells:
    """Those that pages have now, by keys that nobody guesses."""

    held: dict[str, Held] = field(default_factory=dict)

    def find(self, key: str, task: str, caller: Caller) -> Held:
        """Return that caller's shell of that key. NotFoundError."""
        found = self.held.get(key)
        if found is None or found.by != caller.by or found.task != task:
            raise NotFoundError("this shell is over", hint="open another one")
        return found


@router.post("/{task}/shell", response_class=Response)
async def shell(body: Opening, request: Request, intake: FrontDoor, caller: Member, chosen: ChosenAttempt) -> Response:
    """Open one in the container of the attempt's agent, and show what it shows until it is over."""
    shells: Shells = request.app.state.shells
    if chosen.attempt.state is not TaskState.RUNNING:
        raise ConflictError(
            f"attempt {chosen.attempt.number} of task {chosen.status.task.id} is {chosen.attempt.state}: "
            "nothing runs there"
        )
    if len(shells.held) >= MOST_SHELLS:
        raise ConflictError(f"{MOST_SHELLS} shells are open on this server", hint="close one of them")
    entered = await enter(
        chosen.status,
        chosen.attempt,
        terminal=TERMINAL,
        backend=intake.backend,
        vault=intake.vault,
        files=intake.files,
    )
    held = Held(entered=entered, task=chosen.status.task.id, by=caller.by)
    held.resize(body.columns, body.rows)
    _LOG.info("a page opened a shell", task=held.task, attempt=chosen.attempt.number, shell=entered.shell.number)
    return ShellAnswer(held, shells, request.app.state.access, request.app.state.ending)


@router.post("/{task}/shell/{shell}", response_class=Response)
async def typed(task: str, shell: str, body: Typed, request: Request, caller: Member) -> Response:
    """Type, or give the window another size. The audit has the shell's opening, and not each key."""
    held = request.app.state.shells.find(shell, task, caller)
    request.state.is_change = False
    if body.columns is not None and body.rows is not None:
        held.resize(body.columns, body.rows)
    if body.typed:
        await held.entered.shell.write(body.typed.encode(errors="replace"))
    return Response(status_code=204)


class ShellAnswer(Response):
    """What a shell shows: first its key, then bytes as they come, last how it ended."""

    media_type = "application/x-ndjson"

    def __init__(self, held: Held, shells: Shells, access: Access, ending: anyio.Event) -> None:
        super().__init__(headers={"Cache-Control": "no-store"})
        del self.headers["content-length"]  # nobody knows it yet
        self._held = held
        self._shells = shells
        self._access = access
        self._ending = ending

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Show it until it ends, or its reader has gone or is let in no more, or the server ends."""
        key = secrets.token_urlsafe(16)
        self._shells.held[key] = self._held
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await _say(send, {"shell": key, "title": self._held.entered.title})
            async with anyio.create_task_group() as group:
                group.start_soon(self._end_with_reader, receive, group.cancel_scope)
                group.start_soon(self._end_with_server, group.cancel_scope)
                group.start_soon(self._end_with_permission, group.cancel_scope)
                await self._show(send)
                group.cancel_scope.cancel()
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            del self._shells.held[key]
            self._held.entered.shell.close()
            if (error := self._held.entered.recording.end()) is not None:
                _LOG.warning("the recording of a shell is not whole", task=self._held.task, reason=str(error))

    async def _show(self, send: Send) -> None:
        shell = self._held.entered.shell
        while data := await shell.read():
            self._held.entered.recording.show(data)
            await _say(send, {"shown": b64encode(data).decode()})
        await _say(send, {"status": shell.status or 0})

    async def _end_with_reader(self, receive: Receive, scope: anyio.CancelScope) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        scope.cancel()

    async def _end_with_server(self, scope: anyio.CancelScope) -> None:
        await self._ending.wait()
        scope.cancel()

    async def _end_with_permission(self, scope: anyio.CancelScope) -> None:
        while True:
            if not await self._access.lets_in(self._held.by):
                scope.cancel()
                return
            await anyio.sleep(LOOK_AGAIN_SECONDS)


async def _say(send: Send, said: dict[str, object]) -> None:
    await send({"type": "http.response.body", "body": json.dumps(said).encode() + b"\n", "more_body": True})
