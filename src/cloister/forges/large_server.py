"""Asks a repository's server for large objects, or gives it some: the batch API of Git LFS, with its basic transfer.

The server says where an object is, so each of those addresses is judged like one that a stranger named: https, a host
of the strict grammar, looked up once, and no address of a network that is not public. No redirect is followed, and the
login that the server knows us by goes to the server alone.
"""

import json
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Literal
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import anyio
import httpcore
from pydantic import TypeAdapter, ValidationError

from cloister.dialling import JudgedBackend
from cloister.errors import CloisterError, DeniedError, RepositoryError, UnreachableError
from cloister.forges.large_files import ObjectStore
from cloister.forges.reach import Reach, look_up_host
from cloister.model.forge import Way
from cloister.model.large_file import LargeFile

AT_ONCE = 100
"""Objects of one request; what GitHub takes."""
MOST_TRIES = 3
_MOST_ANSWER = 8 * 1024 * 1024
_TOGETHER = 4
_READ_AT_ONCE = 256 * 1024
_KIND = "application/vnd.git-lfs+json"
_TIMES = {"timeout": {"connect": 20.0, "read": 60.0, "write": 60.0, "pool": 600.0}}
_NOT_OURS = frozenset(("host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer"))
_PORTS = {"http": 80, "https": 443}
_FAULTS = (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, OSError)
_PAUSE_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """What to do with an object, and where."""

    href: str
    header: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why an object is not to be had."""

    code: int
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What the server says of one object."""

    oid: str
    size: int = 0
    actions: Mapping[str, Action] = field(default_factory=dict)
    error: Refusal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What it says of all."""

    objects: tuple[Answered, ...]
    transfer: str = "basic"


_BATCH = TypeAdapter(Batch)


class LargeServer:
    """The server of one repository."""

    def __init__(self, way: Way, *, reach: Reach | None, guarded: bool) -> None:
        """`guarded`: the repository's own address is judged too, as are all that its server names."""
        self._way = way
        self._reach = reach
        self._guarded = guarded
        self._url = f"{way.address.removesuffix('/').removesuffix('.git')}.git/info/lfs"
        self._origin = _origin_of(urlsplit(way.address))
        self._tls = ssl.create_default_context()

    async def download(self, files: Sequence[LargeFile], store: ObjectStore) -> None:
        """Fetch these objects. RepositoryError when the server has not all, DeniedError for where nobody is sent."""
        for start in range(0, len(files), AT_ONCE):
            part = {it.digest: it for it in files[start : start + AT_ONCE]}
            answers = {it.oid: it for it in await self._ask("download", list(part.values()))}
            actions = {digest: self._download_of(digest, answers.get(digest)) for digest in part}
            await self._fetch_all(list(part.values()), actions, store)

    def _download_of(self, digest: str, answered: Answered | None) -> Action:
        """Return where an object is; all are looked at before anything is fetched."""
        action = None if answered is None else answered.actions.get("download")
        if answered is None or answered.error is not None or action is None:
            refusal = (answered.error if answered else None) or Refusal(code=404, message="it says nothing of it")
            raise RepositoryError(f"the server has no object {digest[:12]}: {refusal.code} {refusal.message}")
        _read_href(action.href, self._origin)
        _headers_of(action)
        return action

    async def upload(self, files: Sequence[LargeFile], store: ObjectStore) -> int:
        """Give the server those of these objects that it lacks, and have it look at them; return how many.

        RepositoryError when it does not take one, DeniedError for where nobody is sent.
        """
        given = 0
        for start in range(0, len(files), AT_ONCE):
            part = {it.digest: it for it in files[start : start + AT_ONCE]}
            for answered in await self._ask("upload", list(part.values())):
                if answered.error is not None:
                    refusal = f"{answered.error.code} {answered.error.message}"
                    raise RepositoryError(f"the server does not take the object {answered.oid[:12]}: {refusal}")
                if answered.oid in part and "upload" in answered.actions:
                    await self._give(part[answered.oid], answered.actions, store)
                    given += 1
        return given

    async def _ask(self, operation: Literal["download", "upload"], files: Sequence[LargeFile]) -> Sequence[Answered]:
        asked = {
            "operation": operation,
            "transfers": ["basic"],
            "objects": [{"oid": it.digest, "size": it.size} for it in files],
            "hash_algo": "sha256",
        }
        headers = {"Accept": _KIND, "Content-Type": _KIND, **self._login()}
        status, body = await self._send("POST", f"{self._url}/objects/batch", headers, json.dumps(asked).encode())
        if status != 200:
            raise _refusal(status, f"{self._url} gives no large objects: {_said(status, body)}")
        try:
            batch = _BATCH.validate_json(body)
        except ValidationError as error:
            raise RepositoryError(f"{self._url} answers what cannot be read") from error
        if batch.transfer != "basic":
            raise RepositoryError(f"{self._url} wants a transfer that is not known here: {batch.transfer!r}")
        return batch.objects

    async def _fetch_all(self, files: Sequence[LargeFile], actions: Mapping[str, Action], store: ObjectStore) -> None:
        limiter, failures = anyio.CapacityLimiter(_TOGETHER), list[CloisterError]()

        async def fetch(file: LargeFile) -> None:
            async with limiter:
                try:
                    await self._fetch(file, actions[file.digest], store)
                except CloisterError as error:
                    failures.append(error)
                    group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            for file in files:
                group.start_soon(fetch, file)
        if failures:
            raise failures[0]

    async def _fetch(self, file: LargeFile, action: Action, store: ObjectStore) -> None:
        for attempt in range(1, MOST_TRIES):
            try:
                await self._fetch_once(file, action, store)
            except UnreachableError:
                await anyio.sleep(_PAUSE_SECONDS * 2**attempt)
            else:
                return
        await self._fetch_once(file, action, store)

    async def _fetch_once(self, file: LargeFile, action: Action, store: ObjectStore) -> None:
        async with self._open("GET", action.href, _headers_of(action)) as response:
            if response.status != 200:
                raise UnreachableError(f"{_place(action.href)} answers {response.status}")
            await store.take(file.digest, file.size, response.aiter_stream())

    async def _give(self, file: LargeFile, actions: Mapping[str, Action], store: ObjectStore) -> None:
        action, verify = actions["upload"], actions.get("verify")
        for it in (action, verify):
            if it is not None:
                _read_href(it.href, self._origin)
        headers = {"Content-Type": "application/octet-stream", **_headers_of(action)}
        status, body = await self._send("PUT", action.href, headers, store.path_of(file.digest))
        if status not in range(200, 300):
            raise _refusal(status, f"{_place(action.href)} does not take an object: {_said(status, body)}")
        if verify is not None:
            headers = {"Accept": _KIND, "Content-Type": _KIND, **_headers_of(verify)}
            told = f'{{"oid": "{file.digest}", "size": {file.size}}}'.encode()
            status, body = await self._send("POST", verify.href, headers, told)
            if status not in range(200, 300):
                raise _refusal(status, f"{_place(verify.href)} did not get the object: {_said(status, body)}")

    async def _send(
        self, method: str, url: str, headers: Mapping[str, str], content: bytes | Path
    ) -> tuple[int, bytes]:
        for attempt in range(1, MOST_TRIES + 1):
            try:
                async with self._open(method, url, headers, content) as response:
                    body = b""
                    async for part in response.aiter_stream():
                        body += part
                        if len(body) > _MOST_ANSWER:
                            raise RepositoryError(f"{_place(url)} answers more than {_MOST_ANSWER} bytes")
                    if response.status < 500 or attempt == MOST_TRIES:
                        return response.status, body
            except UnreachableError:
                if attempt == MOST_TRIES:
                    raise
            await anyio.sleep(_PAUSE_SECONDS * 2**attempt)
        raise AssertionError("the last attempt returns, or raises")

    @asynccontextmanager
    async def _open(
        self, method: str, url: str, headers: Mapping[str, str], content: bytes | Path = b""
    ) -> AsyncIterator[httpcore.Response]:
        """Send, and return the answer while it comes. A file is read as it is sent."""
        parts = _read_href(url, self._origin)
        size = _size_of(content)
        body = content if isinstance(content, bytes) else _parts_of(content)
        sent = {"User-Agent": "cloister", **headers, **({"Content-Length": str(size)} if size else {})}
        try:
            async with (
                await self._pool(parts) as pool,
                pool.stream(
                    method, url, headers=list(sent.items()), content=body if size else None, extensions=_TIMES
                ) as response,
            ):
                yield response
        except _FAULTS as error:
            raise UnreachableError(f"{_place(url)} does not answer: {error or type(error).__name__}") from error

    async def _pool(self, parts: SplitResult) -> httpcore.AsyncConnectionPool:
        """Return what gets there: by the operator's proxy where there is one, which finds names by itself."""
        host = str(parts.hostname)
        proxy = getproxies().get(parts.scheme)
        if proxy is None or proxy_bypass(host):
            return httpcore.AsyncConnectionPool(ssl_context=self._tls, network_backend=JudgedBackend(self._find))
        if self._reach is not None and self._is_judged(host, _origin_of(parts)[1]):
            await self._reach.check(host, _origin_of(parts)[1])
        through = urlsplit(proxy)
        login = (unquote(through.username or ""), unquote(through.password or "")) if through.username else None
        return httpcore.AsyncHTTPProxy(
            f"{through.scheme or 'http'}://{through.netloc.rpartition('@')[2]}", proxy_auth=login, ssl_context=self._tls
        )

    async def _find(self, host: str, port: int) -> Sequence[str]:
        if self._reach is not None and self._is_judged(host, port):
            return await self._reach.find(host, port)
        with suppress(ValueError):
            return [str(ip_address(host))]
        return [str(address) for address in await look_up_host(host, port)]

    def _is_judged(self, host: str, port: int) -> bool:
        """An owner, who names a repository without a guard, may have it anywhere; what its server names is nobody's."""
        return self._guarded or (host, port) != self._origin

    def _login(self) -> Mapping[str, str]:
        if self._way.token is None:
            return {}
        return {"Authorization": f"Basic {b64encode(f'x-access-token:{self._way.token.reveal()}'.encode()).decode()}"}


def _size_of(content: bytes | Path) -> int:
    return len(content) if isinstance(content, bytes) else content.stat().st_size


async def _parts_of(path: Path) -> AsyncIterator[bytes]:
    async with await anyio.open_file(path, "rb") as file:
        while part := await file.read(_READ_AT_ONCE):
            yield part


def _origin_of(parts: SplitResult) -> tuple[str, int]:
    return str(parts.hostname), parts.port or _PORTS.get(parts.scheme, 0)


def _read_href(url: str, origin: tuple[str, int]) -> SplitResult:
    """Return the parts of an address that the server named. DeniedError for what is not https, but on its own host."""
    try:
        parts = urlsplit(url)
        place = _origin_of(parts)
    except ValueError as error:
        raise DeniedError(f"the server sends nobody to {url[:200]!r}: {error}") from error
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url or "@" in parts.netloc or parts.fragment:
        raise DeniedError(f"the server names an address that cannot be one: {url[:200]!r}")
    if not parts.hostname or (parts.scheme != "https" and (parts.scheme != "http" or place != origin)):
        raise DeniedError(f"the server names an address that is not https: {url[:200]!r}")
    return parts


def _headers_of(action: Action) -> Mapping[str, str]:
    """Return what the server wants to be sent there, but for what says how a message is framed."""
    for name, value in action.header.items():
        if not name.replace("-", "").isalnum() or not name.isascii() or not value.isascii() or not value.isprintable():
            raise DeniedError(f"the server wants a header that cannot be one: {name[:50]!r}")
    return {name: value for name, value in action.header.items() if name.lower() not in _NOT_OURS}


def _place(url: str) -> str:
    """Without its query, which may be as good as a login."""
    return url.partition("?")[0]


def _refusal(status: int, words: str) -> CloisterError:
    """Tell a fault, after which trying again may help, from a refusal."""
    return UnreachableError(words) if status >= 500 else RepositoryError(words)


def _said(status: int, body: bytes) -> str:
    with suppress(ValueError, AttributeError):
        return f"{status} {json.loads(body).get('message', '')}".strip()
    return str(status)
