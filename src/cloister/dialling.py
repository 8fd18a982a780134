"""Connects to addresses that were found and judged, never to a name: what is looked up twice may be two places."""

from collections.abc import Awaitable, Callable, Iterable, Sequence

import httpcore
from httpcore import SOCKET_OPTION, AsyncNetworkBackend, AsyncNetworkStream

Find = Callable[[str, int], Awaitable[Sequence[str]]]
"""From host and port to the addresses that may be reached. DeniedError when one may not; another when none is found."""


class JudgedBackend(AsyncNetworkBackend):
    """For an `httpcore` pool."""

    def __init__(self, find: Find) -> None:
        self._find = find
        self._backend = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  # the protocol's
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> AsyncNetworkStream:
        """Try them in order."""
        failure: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in await self._find(host, port):
            try:
                return await self._backend.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> AsyncNetworkStream:
        """Never."""
        raise httpcore.UnsupportedProtocol("a socket of this machine is nobody's address")

    async def sleep(self, seconds: float) -> None:
        """As the other does."""
        await self._backend.sleep(seconds)
