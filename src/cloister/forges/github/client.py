"""Asks GitHub's REST API: within its limits, again where that is safe, and with its errors in our words."""

import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import anyio
import httpx
from gidgethub import (
    BadRequest,
    GitHubBroken,
    GitHubException,
    HTTPException,
    RateLimitExceeded,
    RedirectionException,
)
from gidgethub.abc import GitHubAPI

from cloister.errors import (
    CloisterError,
    DeniedError,
    NotFoundError,
    RateLimitError,
    RepositoryError,
    UnreachableError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

MOST_TRIES = 4
LONGEST_WAIT_SECONDS = 60.0
"""For a limit to pass; a longer one is told instead."""
_SECONDS = 30.0
_REPEATABLE = ("GET", "PATCH", "PUT")
_SECONDARY_SECONDS = 60.0
"""GitHub asks for at least this when it does not say how long (`Best practices for using the REST API`)."""
_NOT_ACCEPTED, _NOT_ALLOWED, _NOT_THERE, _GONE, _TOO_MANY = 401, 403, 404, 410, 429


class GitHubClient(GitHubAPI):
    """One GitHub, whoever asks: each call says with what token."""

    def __init__(self, api: str) -> None:
        super().__init__("cloister", base_url=api)
        self.on_refused: Callable[[], None] = lambda: None
        """Called when what was sent to log in is refused: a token may have been taken back before its time."""
        self.on_moved: Callable[[], None] = lambda: None
        """Called when something is not where it was: a repository may have been renamed."""
        self.ahead_seconds: float | None = None
        """How far this machine's clock is ahead of GitHub's, by its last answer; None before there is one."""
        self._http: httpx.AsyncClient | None = None  # made when it is needed: reading the authorities takes a while

    async def aclose(self) -> None:
        """Hang up."""
        if self._http is not None:
            await self._http.aclose()

    async def sleep(self, seconds: float) -> None:
        """See `GitHubAPI`."""
        await anyio.sleep(seconds)

    async def handle_rate_limit_error(self, *, method: str, url: str, exception: HTTPException, attempt: int) -> bool:
        """Wait where GitHub says for how long, and after a fault of its own where a second time does no harm."""
        del url
        if int(exception.status_code) == _NOT_ACCEPTED:
            self.on_refused()
        wait = _wait_of(exception, method, attempt)
        if wait is None or wait > LONGEST_WAIT_SECONDS or attempt >= MOST_TRIES:
            return False
        await self.sleep(wait)
        return True

    async def _request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes = b""
    ) -> tuple[int, Mapping[str, str], bytes]:
        if urlsplit(url)[:2] != urlsplit(self.base_url)[:2]:  # of a redirect, or a next page: no token goes there
            raise RepositoryError(f"{self.base_url} leads elsewhere, to {url}, where nothing is asked")
        if self._http is None:
            self._http = httpx.AsyncClient(verify=ssl.create_default_context())
        for attempt in range(1, MOST_TRIES + 1):
            try:
                response = await self._http.request(
                    method, url, headers=dict(headers), content=body, timeout=_SECONDS, follow_redirects=False
                )
            except httpx.TransportError as error:
                if method not in _REPEATABLE or attempt == MOST_TRIES:
                    raise UnreachableError(
                        f"{self.base_url} does not answer: {error or type(error).__name__}"
                    ) from error
                await self.sleep(2.0**attempt / 4)
            else:
                self.ahead_seconds = _ahead_seconds(response.headers.get("date"))
                if response.is_redirect:
                    self.on_moved()
                return response.status_code, response.headers, response.content
        raise AssertionError("the last attempt returns, or raises")

    def redirected(self, error: RedirectionException) -> str:
        """Return where a thing that was renamed is now."""
        return str((error.headers or {}).get("location", ""))


@asynccontextmanager
async def in_our_words(what: str) -> "AsyncIterator[None]":
    """Translate what GitHub refuses; `what` is what was asked for, such as `team/shop`."""
    try:
        yield
    except GitHubException as error:
        raise _translated(error, what) from error


def _ahead_seconds(date: str | None) -> float | None:
    try:
        return time.time() - parsedate_to_datetime(date or "").timestamp()
    except ValueError:
        return None


def _translated(error: GitHubException, what: str) -> CloisterError:
    if (at := _reset_of(error)) is not None:
        return RateLimitError(
            f"GitHub answers no more of our requests until {at:%H:%M} UTC: its rate limit is reached",
            seconds=_seconds_until(at),
        )
    if not isinstance(error, HTTPException):
        return RepositoryError(f"GitHub answers about {what} what cannot be read: {error}")
    status = int(error.status_code)
    if status == _NOT_ACCEPTED:
        return RepositoryError(
            "GitHub does not accept what Cloister logs in with",
            hint="see what is missing: cloister github doctor; give it another: cloister github set-token, or set-key",
        )
    if status in (_NOT_THERE, _GONE):
        return NotFoundError(f"GitHub shows Cloister no {what}: there is none, or its login may not see it")
    if status in (_NOT_ALLOWED, _TOO_MANY) and _is_secondary(error):
        return RateLimitError(
            "GitHub asks to go slower: its secondary rate limit is reached",
            seconds=_secondary_seconds(error),
            hint="try again later",
        )
    if status == _NOT_ALLOWED:
        return DeniedError(f"GitHub does not let Cloister do that with {what}: {error}")
    if isinstance(error, GitHubBroken):
        return UnreachableError(f"GitHub has a fault of its own: {error}")
    return RepositoryError(f"GitHub refuses that for {what}: {error}")


def _wait_of(error: HTTPException, method: str, attempt: int) -> float | None:
    """Return for how many seconds to wait before the same is asked again; None where that is of no use."""
    if (at := _reset_of(error)) is not None:
        return _seconds_until(at)
    if isinstance(error, BadRequest) and int(error.status_code) in (_NOT_ALLOWED, _TOO_MANY):
        if not _is_secondary(error):
            return None
        return _secondary_seconds(error)
    if isinstance(error, GitHubBroken) and method in _REPEATABLE:
        return 2.0**attempt / 4
    return None


def _reset_of(error: GitHubException) -> datetime | None:
    """Return when the primary limit ends that was reached: said with 403 or 429, and no request that remains."""
    if isinstance(error, RateLimitExceeded):
        at: datetime = error.rate_limit.reset_datetime
        return at
    if not isinstance(error, BadRequest) or int(error.status_code) != _TOO_MANY:
        return None
    headers = error.headers or {}
    reset = headers.get("x-ratelimit-reset", "")
    if headers.get("x-ratelimit-remaining") != "0" or "retry-after" in headers or not reset.isdigit():
        return None
    return datetime.fromtimestamp(int(reset), UTC)


def _seconds_until(at: datetime) -> float:
    return float(max(1.0, at.timestamp() - time.time()))


def _secondary_seconds(error: HTTPException) -> float:
    after = (error.headers or {}).get("retry-after", "")
    return float(after) if after.isdigit() else _SECONDARY_SECONDS


def _is_secondary(error: HTTPException) -> bool:
    """By the header, or by GitHub's words where it leaves that out."""
    return "retry-after" in (error.headers or {}) or "secondary rate limit" in str(error).lower()
