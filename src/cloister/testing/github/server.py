"""The server: every request is looked up in GitHub's description, and so is every answer."""

import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from cloister.testing.github import git_http, large_objects
from cloister.testing.github.account import Accounts
from cloister.testing.github.description import Called, Description
from cloister.testing.github.filling import fill
from cloister.testing.github.manifests import CONFIRM, INSTALL, PAGE, Manifests
from cloister.testing.github.operations import Operations
from cloister.testing.github.refusals import RefusedError
from cloister.testing.serving import bound, serve

_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
_API = "/api/v3"
_GIT_PATH = re.compile(r"/([\w.-]+/[\w.-]+?)(?:\.git)?(/info/refs|/git-upload-pack|/git-receive-pack)")
_LOG = re.compile(r"/_logs/([\w.-]+/[\w.-]+)/(\d+)")
_BY_ID = re.compile(r"/repositories/(\d+)(/.*)?")
_LIMIT = 5000


@dataclass(slots=True, kw_only=True)
class Fault:
    """Something that goes wrong with the next requests that fit."""

    method: str
    path: str
    """A regular expression for the whole path, without `/api/v3`."""
    status: int
    """Of the answer; 0 lets the connection end without one."""
    after: bool = False
    """What was asked for is done all the same."""
    headers: Mapping[str, str] | None = None
    times: int = 1
    seconds: float = 0.0
    """How long nothing comes first."""


class GitHub:
    """A forge at `url`, as an Enterprise Server has it: the API is below `/api/v3`."""

    def __init__(self, directory: Path, url: str) -> None:
        self.url = url
        self.accounts = Accounts(directory)
        self.faults: list[Fault] = []
        self.problems: list[str] = []
        """What was not as GitHub describes it, of ours or of the forge's own."""
        self.asked: list[str] = []
        """Method and path of each request."""
        self.remaining = _LIMIT
        """How many requests are left until the limit is reached."""
        self.reset_seconds = 3600
        """When there are more again."""
        self._description = Description()
        self._operations = Operations(self.accounts, url)
        self.manifests = Manifests(self.accounts, self._description, url)
        self.large = large_objects.LargeObjects(self.accounts, directory, url)
        self.clock_seconds = 0
        """How far its clock is ahead."""

    @property
    def log_address(self) -> str:
        """Where it says that the log of a job is, with places for `url`, `name` and `job`."""
        return self._operations.log_address

    @log_address.setter
    def log_address(self, address: str) -> None:
        self._operations.log_address = address

    def check(self) -> None:
        """Raise AssertionError when anything was not as described."""
        assert not self.problems, "\n".join(self.problems)

    async def respond(self, request: Request) -> Response:
        """Answer one request."""
        path = request.scope["raw_path"].decode()
        self.asked.append(f"{request.method} {path.removeprefix(_API)}")
        fault = self._fault(request.method, path.removeprefix(_API))
        if fault is not None and not fault.after:
            return await _failure(fault)
        response = await self._respond(request, path)
        response.headers["Date"] = formatdate(time.time() + self.clock_seconds, usegmt=True)
        return response if fault is None else await _failure(fault)

    async def _respond(self, request: Request, path: str) -> Response:
        if path.startswith(f"{_API}/"):
            return await self._api(request, path)
        if (page := await self._page(request, path)) is not None:
            return page
        if (request.method, path) == ("POST", "/api/graphql"):
            return await self._graphql(request)
        if request.method == "POST" and (match := large_objects.BATCH.fullmatch(path)):
            return await self.large.batch(request, match[1], self.problems)
        if match := large_objects.STORE.fullmatch(path):
            return await self.large.store(request, match, self.problems)
        if match := _LOG.fullmatch(path):
            return self._log(request, match[1], int(match[2]))
        return await self._git(request)

    async def _page(self, request: Request, path: str) -> Response | None:
        """Answer what a person's browser asks for; None for what programs ask for."""
        is_posted = request.method == "POST"
        if is_posted and (match := PAGE.fullmatch(path)):
            state = request.query_params.get("state", "")
            return self.manifests.take(match[1], state, await request.form(), self.problems)
        if is_posted and path == CONFIRM:
            return self.manifests.confirm(await request.form())
        if match := INSTALL.fullmatch(path):
            return self.manifests.install(match[1], clicked=is_posted)
        return None

    def _log(self, request: Request, name: str, job: int) -> Response:
        """Answer whoever has the address, as the store of logs does: it knows no login, and is to be shown none."""
        if "authorization" in request.headers:
            self.problems.append(f"{request.url.path}: a login was sent to the store of logs")
        repository = self.accounts.find(name)
        run = None if repository is None else repository.runs.get(job)
        return Response(status_code=404) if run is None or run.log is None else Response(run.log)

    async def _git(self, request: Request) -> Response:
        match = _GIT_PATH.fullmatch(request.url.path)
        if match is None:
            return Response("Not Found", 404)
        name, below = match.groups()
        repository = self.accounts.find(name)
        if repository is None and (moved := self.accounts.find_moved(name)) is not None:
            query = f"?{request.url.query}" if request.url.query else ""
            return Response(status_code=301, headers={"Location": f"{self.url}/{moved.full_name}.git{below}{query}"})
        token = git_http.token_of(request)
        caller = self.accounts.caller_of(token)
        if token is not None and caller is None:
            return Response("Invalid username or token.", 401, headers={"WWW-Authenticate": 'Basic realm="GitHub"'})
        if (refusal := git_http.refusal(request, repository, caller)) is not None or repository is None:
            return refusal or Response(status_code=404)
        return await git_http.serve_git(request, repository, caller, below)

    async def _api(self, request: Request, path: str) -> Response:
        path = self._by_name(path.removeprefix(_API))
        called = self._description.find(request.method, path, request.url.query)
        if called is None:
            self.problems.append(f"{request.method} {path} is no operation of the subset")
            return JSONResponse({"message": "Not Found"}, 404)
        text = await request.body()
        body = json.loads(text) if text else None
        wrong = self._description.check_request(called, body)
        if "user-agent" not in request.headers or "application/vnd.github" not in request.headers.get("accept", ""):
            wrong.append("the headers User-Agent and Accept are to be sent")
        self.problems += [f"{request.method} {path}: {problem}" for problem in wrong]
        if wrong:
            return JSONResponse({"message": "not as described", "errors": wrong}, 422)
        if self.remaining <= 0:
            return self._said(403, {"message": "API rate limit exceeded"})
        self.remaining -= 1
        if (moved := self._moved(called)) is not None:
            location = {"Location": f"{self.url}{_API}{moved}"}
            return self._said(301, {"message": "Moved Permanently", "url": location["Location"]}, location)
        return self._answer(called, body, request)

    def _answer(self, called: Called, body: Any, request: Request) -> Response:
        if called.path == "/app-manifests/{code}/conversions":
            return self._convert(called)
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        app = self.accounts.app_of(token) if kind.lower() == "bearer" else None
        caller = self.accounts.caller_of(token)
        if app is None and caller is None:
            return self._said(401, {"message": "Bad credentials"})
        try:
            if app is not None:
                status, known = self._operations.answer_app(called, body, app)
            else:
                assert caller is not None
                status, known = self._operations.answer(called, body, caller)
        except RefusedError as error:
            if str(error.status) in called.operation["responses"]:
                self._check_answer(called, error.status, error.body)
            return self._said(error.status, error.body)
        except KeyError:
            return self._said(403, {"message": "Resource not accessible"})
        if status == HTTPStatus.FOUND:
            return Response(status_code=status, headers={"Location": str(known)})
        schema = self._description.answer_schema(called, status)
        whole = None if schema is None else fill(self._description, schema, known)
        self._check_answer(called, status, whole)
        return self._said(status, whole, self._links(called, request, whole))

    async def _graphql(self, request: Request) -> Response:
        caller = self.accounts.caller_of(request.headers.get("authorization", "").partition(" ")[2])
        if caller is None:
            return self._said(401, {"message": "Bad credentials"})
        body = json.loads(await request.body())
        return self._said(200, self._operations.make_ready(body["query"], body.get("variables") or {}, caller))

    def _convert(self, called: Called) -> Response:
        made = self.manifests.convert(called.values["code"])
        if made is None:
            return self._said(404, {"message": "Not Found"})
        schema = self._description.answer_schema(called, 201)
        assert schema is not None
        whole = fill(self._description, schema, made)
        self._check_answer(called, 201, whole)
        return self._said(201, whole)

    def _check_answer(self, called: Called, status: int, body: object) -> None:
        wrong = self._description.check_answer(called, status, body)
        self.problems += [f"the forge's own answer to {called.method} {called.path}: {problem}" for problem in wrong]

    def _links(self, called: Called, request: Request, whole: object) -> Mapping[str, str]:
        listed = whole.get("repositories") if isinstance(whole, dict) else whole
        size, page = int(called.query.get("per_page", "30")), int(called.query.get("page", "1"))
        if called.method != "get" or not isinstance(listed, list) or len(listed) < size:
            return {}
        following = request.url.include_query_params(page=page + 1)
        return {"Link": f'<{self.url}{following.path}?{following.query}>; rel="next"'}

    def _by_name(self, path: str) -> str:
        """Read an address by number, to which a moved repository leads, as one by name."""
        match = _BY_ID.fullmatch(path)
        found = next((it for it in self.accounts.repositories if match and it.id == int(match[1])), None)
        return path if match is None or found is None else f"/repos/{found.full_name}{match[2] or ''}"

    def _moved(self, called: Called) -> str | None:
        name = f"{called.values.get('owner')}/{called.values.get('repo')}"
        if self.accounts.find(name) is not None or (moved := self.accounts.find_moved(name)) is None:
            return None
        below = called.path.removeprefix("/repos/{owner}/{repo}").format(**called.values)
        return f"/repositories/{moved.id}{below}"

    def _said(self, status: int, body: object, headers: Mapping[str, str] | None = None) -> Response:
        limits = {
            "X-RateLimit-Limit": str(_LIMIT),
            "X-RateLimit-Remaining": str(max(0, self.remaining)),
            "X-RateLimit-Reset": str(int(time.time() + self.reset_seconds)),
        }
        return JSONResponse(body, status, headers={**limits, **(headers or {})})

    def _fault(self, method: str, path: str) -> Fault | None:
        for fault in self.faults:
            if fault.method == method and re.fullmatch(fault.path, path):
                fault.times -= 1
                if fault.times <= 0:
                    self.faults.remove(fault)
                return fault
        return None


async def _failure(fault: Fault) -> Response:
    await anyio.sleep(fault.seconds)
    if fault.status == 0:
        return _Cut()
    return JSONResponse({"message": "the forge has a fault"}, fault.status, headers=dict(fault.headers or {}))


class _Cut(Response):
    """Ends the connection in the middle of an answer: uvicorn does, when less comes than was promised."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See Starlette."""
        del scope, receive
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


@contextmanager
def serve_github(directory: Path) -> Iterator[GitHub]:
    """Serve a forge in a thread until the block ends, with its repositories in `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    listener, url = bound("127.0.0.1", 0)
    github = GitHub(directory, url)
    app = Starlette(routes=[Route("/{path:path}", github.respond, methods=_METHODS)])
    with anyio.from_thread.start_blocking_portal() as portal, portal.wrap_async_context_manager(serve(app, listener)):
        yield github
