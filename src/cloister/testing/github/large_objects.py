"""Git LFS at the forge: the batch API as its specification has it, and a place for objects, behind links."""

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from pathlib import Path
from secrets import token_bytes
from typing import Any

from jsonschema import Draft202012Validator
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from cloister.testing.github import git_http
from cloister.testing.github.account import Accounts
from cloister.testing.github.hosted import Hosted

KIND = "application/vnd.git-lfs+json"
BATCH = re.compile(r"/([\w.-]+/[\w.-]+?)\.git/info/lfs/objects/batch")
STORE = re.compile(r"/lfs-store/(\d+)/([0-9a-f]{64})(/verify)?")
_DIGEST = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_REQUEST = Draft202012Validator(
    {
        "type": "object",
        "properties": {
            "operation": {"enum": ["upload", "download"]},
            "transfers": {"type": "array", "items": {"type": "string"}},
            "ref": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
            "hash_algo": {"type": "string"},
            "objects": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "oid": _DIGEST,
                        "size": {"type": "number", "minimum": 0},
                        "authenticated": {"type": "boolean"},
                    },
                    "required": ["oid", "size"],
                    "additionalProperties": False,
                },
            },
        },
        "required": ["objects", "operation"],
    }
)
"""See `schemas/http-batch-request-schema.json` of git-lfs."""


class LargeObjects:
    """What is kept, and who gets at it."""

    def __init__(self, accounts: Accounts, directory: Path, url: str) -> None:
        self.href = url
        """Beginning of the addresses that it hands out."""
        self.extra: Mapping[str, Any] = {}
        """Put over what it says of each object."""
        self.quota: int | None = None
        """Bytes that a repository's objects may have; None for any."""
        self.asked: list[str] = []
        """Method and digest of each object that was got or given."""
        self._accounts = accounts
        self._directory = directory
        self._key = token_bytes(16)

    def path_of(self, repository: Hosted, digest: str) -> Path:
        """Where an object is."""
        return self._directory / f"{repository.id}.lfs" / digest

    def add(self, repository: Hosted, content: bytes) -> str:
        """Keep an object, and return its digest."""
        digest = hashlib.sha256(content).hexdigest()
        self.path_of(repository, digest).parent.mkdir(exist_ok=True)
        self.path_of(repository, digest).write_bytes(content)
        return digest

    async def batch(self, request: Request, name: str, problems: list[str]) -> Response:
        """Say where objects are, or are to be put."""
        accepted, sent = request.headers.get("accept", ""), request.headers.get("content-type", "")
        if not accepted.startswith(KIND) or not sent.startswith(KIND):
            problems.append(f"a batch is asked for with Accept and Content-Type {KIND}, not {accepted}, {sent}")
            return _said(406, "wrong kind")
        body = json.loads(await request.body())
        if wrong := [error.message for error in _REQUEST.iter_errors(body)]:
            problems += [f"batch: {problem}" for problem in wrong]
            return _said(422, "not as described")
        token = git_http.token_of(request)
        caller, repository = self._accounts.caller_of(token), self._accounts.find(name)
        if caller is None and (repository is None or repository.private or token is not None):
            return _said(401, "Credentials needed", {"LFS-Authenticate": 'Basic realm="Git LFS"'})
        if repository is None or (caller is not None and not caller.may_read(repository)):
            return _said(404, "Not Found")
        if body["operation"] == "upload" and (caller is None or not caller.may_write(repository)):
            return _said(403, "You must have push access to upload")
        return self._answer(repository, body)

    def _answer(self, repository: Hosted, body: Mapping[str, Any]) -> Response:
        if len(body["objects"]) > 100:
            return _said(413, "too many objects")
        upload = body["operation"] == "upload"
        if upload and self.quota is not None and sum(it["size"] for it in body["objects"]) > self.quota:
            return _said(403, "This repository is over its data quota.")
        found = [self._object(repository, it, upload=upload) for it in body["objects"]]
        content = json.dumps({"transfer": "basic", "objects": found, "hash_algo": "sha256"})
        return Response(content, media_type=KIND)

    def _object(self, repository: Hosted, it: Mapping[str, Any], *, upload: bool) -> Mapping[str, Any]:
        said = {"oid": it["oid"], "size": it["size"], "authenticated": True}
        path = self.path_of(repository, it["oid"])
        is_there = path.exists() and path.stat().st_size == it["size"]
        href = f"{self.href}/lfs-store/{repository.id}/{it['oid']}"
        action = {"href": href, "header": {"X-Link": self._sign(repository, it["oid"])}, "expires_in": 600}
        if upload:
            verify = {**action, "href": f"{href}/verify"}
            return {**said, **({} if is_there else {"actions": {"upload": action, "verify": verify}}), **self.extra}
        if not is_there:
            return {**said, "error": {"code": 404, "message": "Object does not exist"}, **self.extra}
        return {**said, "actions": {"download": action}, **self.extra}

    async def store(self, request: Request, match: re.Match[str], problems: list[str]) -> Response:
        """Give or take an object. Whoever has the link may; a login has no business here."""
        repository = next(it for it in self._accounts.repositories if it.id == int(match[1]))
        if "authorization" in request.headers:
            problems.append("a login was sent to the place of the objects")
        if not hmac.compare_digest(request.headers.get("x-link", ""), self._sign(repository, match[2])):
            return Response("Forbidden", 403)
        path = self.path_of(repository, match[2])
        self.asked.append(f"{request.method} {match[2]}{match[3] or ''}")
        if match[3]:
            told = json.loads(await request.body())
            right = path.exists() and told == {"oid": match[2], "size": path.stat().st_size}
            return Response(status_code=200 if right else 404)
        if request.method == "GET":
            return Response(path.read_bytes(), media_type="application/octet-stream")
        content = await request.body()
        if hashlib.sha256(content).hexdigest() != match[2]:
            return Response("the content is another one", 422)
        self.add(repository, content)
        return Response(status_code=200)

    def _sign(self, repository: Hosted, digest: str) -> str:
        return hmac.new(self._key, f"{repository.id} {digest}".encode(), "sha256").hexdigest()


def _said(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse({"message": message}, status, headers=headers, media_type=KIND)
