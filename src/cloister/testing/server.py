"""The server of the scripted model."""

import hmac
import json
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from cloister.testing.answer import Answer, CannotAnswerError, answer_of
from cloister.testing.asked import Asked
from cloister.testing.chat import ChatCompletions
from cloister.testing.dialect import Dialect
from cloister.testing.gemini import Gemini
from cloister.testing.messages import Messages
from cloister.testing.player import Cue, Player, UnexpectedRequestError
from cloister.testing.responses import Responses
from cloister.testing.script import Fault, Script
from cloister.testing.serving import bound, serve
from cloister.testing.side_requests import side_answer, side_reply

_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]
_CUT_AFTER = 3
"""Events of an answer that is cut."""


class _CutError(Exception):
    """Ends a connection in the middle of an answer."""


class ScriptedModel:
    """A model that says what a script has."""

    def __init__(self, script: Script, address: str, kept: Path | None) -> None:
        self.address = address
        """`http://127.0.0.1:PORT`: add what the protocol's base address has, such as `/v1`."""
        self._script = script
        self._player = Player(script)
        self._kept = kept

    @property
    def problems(self) -> list[str]:
        """What was not as the script has it, and what of it was never asked for."""
        return [*self._player.failures, *self._player.unasked()]

    def check(self) -> None:
        """Raise AssertionError when there are problems."""
        if self.problems:
            raise AssertionError("the scripted model: " + "\n".join(self.problems))

    async def respond(self, request: Request) -> Response:
        """Answer one request."""
        body = await request.body()
        path = request.url.path.rstrip("/")
        self._keep({"at": time.time(), "method": request.method, "path": path, "body": body.decode(errors="replace")})
        dialect = _dialect_of(path) if request.method == "POST" else None
        if not self._has_key(request):
            words = (dialect or Responses()).error(401, "the key is not the script's")
            return JSONResponse(words, status_code=401)
        if (reply := side_reply(request.method, path, body)) is not None:
            return JSONResponse(reply)
        if dialect is None:
            return self._refuse(Responses(), 404, f"{request.method} {path} is no request that a model answers")
        try:
            asked = dialect.read(json.loads(body), path)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            return self._refuse(dialect, 400, f"{path}: not a request of this protocol: {error!r}")
        if (answer := side_answer(asked)) is not None:
            return self._answered(dialect, asked, answer)
        return await self._play(dialect, asked, request.headers)

    async def _play(self, dialect: Dialect, asked: Asked, headers: Mapping[str, str]) -> Response:
        try:
            cue = self._player.cue(asked, headers)
            await anyio.sleep(cue.turn.delay_seconds)
            if cue.turn.error is not None:
                return _fault(dialect, cue.turn.error)
            answer = answer_of(cue.turn, asked, id=cue.id)
        except (UnexpectedRequestError, CannotAnswerError) as error:
            return self._refuse(dialect, 400, str(error))
        self._player.said(cue, answer.text)
        return self._answered(dialect, asked, answer, cue)

    def _answered(self, dialect: Dialect, asked: Asked, answer: Answer, cue: Cue | None = None) -> Response:
        cut = cue is not None and cue.turn.cut
        if asked.stream:
            events = dialect.streamed(answer, asked)
            return StreamingResponse(_sent(events, cut=cut), media_type="text/event-stream")
        whole = json.dumps(dialect.whole(answer, asked))
        if cut:
            return StreamingResponse(_sent(iter([whole[: len(whole) // 2]]), cut=True), media_type="application/json")
        return Response(whole, media_type="application/json")

    def _refuse(self, dialect: Dialect, status: int, message: str) -> Response:
        self._player.failures.append(message)
        words = dialect.error(status, f"the scripted model: {message}")
        return JSONResponse(words, status_code=status, headers={"x-should-retry": "false"})

    def _has_key(self, request: Request) -> bool:
        if self._script.key is None:
            return True
        headers = request.headers
        given = (
            headers.get("authorization", "").removeprefix("Bearer "),
            headers.get("x-api-key", ""),
            headers.get("api-key", ""),
            headers.get("x-goog-api-key", ""),
            request.query_params.get("key", ""),
        )
        return any(hmac.compare_digest(key.encode(), self._script.key.encode()) for key in given)

    def _keep(self, told: Mapping[str, object]) -> None:
        if self._kept is not None:
            with self._kept.open("a") as file:
                file.write(json.dumps(told) + "\n")


@asynccontextmanager
async def open_model(
    script: Script, *, host: str = "127.0.0.1", port: int = 0, kept: Path | None = None
) -> AsyncIterator[ScriptedModel]:
    """Serve a script until the block ends. Requests are appended to `kept`, a line of JSON each."""
    listener, address = bound(host, port)
    model = ScriptedModel(script, address, kept)
    app = Starlette(routes=[Route("/{path:path}", model.respond, methods=_METHODS)])
    async with serve(app, listener):
        yield model


def _dialect_of(path: str) -> Dialect | None:
    if path.endswith("/responses"):
        return Responses()
    if path.endswith("/chat/completions"):
        return ChatCompletions()
    if path.endswith("/messages"):
        return Messages()
    if path.endswith((":generateContent", ":streamGenerateContent")):
        return Gemini()
    return None


def _fault(dialect: Dialect, fault: Fault) -> Response:
    return JSONResponse(dialect.error(fault.status, fault.message), status_code=fault.status, headers=fault.headers)


async def _sent(events: Iterator[str], *, cut: bool) -> AsyncIterator[str]:
    for number, event in enumerate(events):
        if cut and number == _CUT_AFTER:
            break
        yield event
        await anyio.lowlevel.checkpoint()
    if cut:
        raise _CutError
