"""The end of a job's log of GitHub Actions. GitHub keeps logs on other hosts, to which an address leads for a minute.

That address is GitHub's word, so it is judged as any other: looked up once, dialled as judged, followed no further, and
given no token of Cloister's (`Download job logs for a workflow run`).
"""

import ssl
from collections.abc import AsyncIterator, Mapping
from urllib.parse import urlsplit

import anyio
import httpcore
from gidgethub import GitHubException, RedirectionException

from cloister.dialling import Find, JudgedBackend
from cloister.errors import CloisterError
from cloister.forges.github.host import GitHubHost
from cloister.model.task import Repository

READ: Mapping[str, str] = {"actions": "read", "metadata": "read"}
LONGEST_TAIL_BYTES = 64 * 1024
MOST_BYTES = 64 * 1024 * 1024
"""Of a longer log nothing is taken: its end is too far away."""
_SECONDS = 30.0
_OK = 200


class JobLogs:
    """Those of the repositories of one GitHub."""

    def __init__(self, host: GitHubHost, find: Find, tls: ssl.SSLContext | None = None) -> None:
        self._host = host
        self._find = find
        self._tls = tls

    async def tail(self, repository: Repository, job: int) -> str:
        """Return the end of a log, from the beginning of a line on; empty where it cannot be had."""
        try:
            with anyio.fail_after(_SECONDS):
                url = await self._address_of(repository, job)
                return "" if url is None else await self._end_of(url)
        except (CloisterError, OSError, TimeoutError, ValueError, httpcore.ProtocolError, httpcore.NetworkError):
            return ""
        except (httpcore.TimeoutException, httpcore.UnsupportedProtocol):
            return ""

    async def _address_of(self, repository: Repository, job: int) -> str | None:
        name, token = await self._host.login_for(repository, READ)
        try:
            await self._host.client.getitem(f"/repos/{name}/actions/jobs/{job}/logs", oauth_token=token)
        except RedirectionException as error:
            return self._checked(self._host.client.redirected(error))
        except GitHubException:  # it is gone, or Cloister's login may not read it
            return None
        return None

    def _checked(self, url: str) -> str | None:
        """Return an address that may be a log's: by https, or where the forge itself is reached otherwise."""
        parts, own = urlsplit(url), urlsplit(self._host.client.base_url)
        is_fine = parts.scheme == "https" or (parts.scheme, parts.netloc) == (own.scheme, own.netloc)
        if not is_fine or not parts.hostname or "@" in parts.netloc or not url.isascii() or not url.isprintable():
            return None
        return url

    async def _end_of(self, url: str) -> str:
        tls = self._tls or ssl.create_default_context()
        async with (
            httpcore.AsyncConnectionPool(ssl_context=tls, network_backend=JudgedBackend(self._find)) as pool,
            pool.stream("GET", url, headers=[("Accept", "text/plain"), ("Accept-Encoding", "identity")]) as response,
        ):
            return "" if response.status != _OK else await _tail_of(response.aiter_stream())


async def _tail_of(stream: AsyncIterator[bytes]) -> str:
    kept, read = b"", 0
    async for part in stream:
        read += len(part)
        if read > MOST_BYTES:
            return ""
        kept = (kept + part)[-LONGEST_TAIL_BYTES:]
    if read > len(kept):  # what is cut in the middle could be a secret's end, which nobody would know again
        kept = kept.partition(b"\n")[2]
    return kept.decode(errors="replace")
