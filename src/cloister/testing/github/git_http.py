"""Git over HTTP: `git http-backend` behind a door that asks for tokens."""

import base64
import binascii
from collections.abc import Mapping
from pathlib import Path
from subprocess import PIPE

import anyio
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from cloister.testing.github.hosted import Caller, Hosted

_PATH = "/usr/local/bin:/usr/bin:/bin"


def token_of(request: Request) -> str | None:
    """Return the password of Basic authentication, which is where a token goes, whatever the user's name is."""
    kind, _, value = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "basic":
        return None
    try:
        return base64.b64decode(value, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""


def is_push(request: Request) -> bool:
    """Whether a push is asked for, or its first step."""
    return request.url.path.endswith("/git-receive-pack") or request.query_params.get("service") == "git-receive-pack"


def refusal(request: Request, repository: Hosted | None, caller: Caller | None) -> Response | None:
    """Refuse as GitHub does: who may not know of a repository is told that there is none."""
    needs_login = is_push(request) or repository is None or repository.private
    if caller is None and needs_login:
        return PlainTextResponse("", 401, headers={"WWW-Authenticate": 'Basic realm="GitHub"'})
    if repository is None or (caller is not None and not caller.may_read(repository)):
        return PlainTextResponse("Repository not found.", 404)
    if is_push(request) and (caller is None or not caller.may_write(repository)):
        words = f"Permission to {repository.full_name}.git denied to {caller.login if caller else 'nobody'}."
        return PlainTextResponse(words, 403)
    return None


async def serve_git(request: Request, repository: Hosted, caller: Caller | None, below: str) -> Response:
    """Let `git http-backend` answer; see git-http-backend(1)."""
    body = await request.body()
    done = await anyio.run_process(
        ["git", "http-backend"],
        input=body,
        env=_environment(request, repository, caller, below, len(body)),
        stderr=PIPE,
    )
    repository.follow_branches()
    head, _, content = done.stdout.partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
    status = int(headers.pop("Status", "200 OK").split()[0])
    return Response(content, status, headers=headers)


def _environment(
    request: Request, repository: Hosted, caller: Caller | None, below: str, length: int
) -> Mapping[str, str]:
    return {
        "PATH": _PATH,
        "HOME": "/nonexistent",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "safe.directory",
        "GIT_CONFIG_VALUE_0": "*",
        "GIT_PROJECT_ROOT": str(Path(repository.path).parent),
        "GIT_HTTP_EXPORT_ALL": "1",
        "PATH_INFO": f"/{repository.path.name}{below}",
        "REQUEST_METHOD": request.method,
        "QUERY_STRING": request.url.query,
        "CONTENT_TYPE": request.headers.get("content-type", ""),
        "CONTENT_LENGTH": str(length),
        "HTTP_CONTENT_ENCODING": request.headers.get("content-encoding", ""),
        "GIT_PROTOCOL": request.headers.get("git-protocol", ""),
        "REMOTE_USER": caller.login if caller else "",
        "CLOISTER_TESTING_PROTECTED": " ".join(sorted(repository.protected)),
        "CLOISTER_TESTING_WORKFLOWS": "yes" if caller is None or caller.workflows else "no",
    }
