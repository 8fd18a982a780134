"""The connection towards an upstream: to itself, or to the proxy that the operator has put in between."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus

import h11

from cloister.egress.addresses import Address
from cloister.egress.answer import AnswerError
from cloister.egress.dial import dial, look_up
from cloister.egress.request import LARGEST_HEAD_BYTES, Authority
from cloister.egress.stream import Stream
from cloister.model.upstreams import UpstreamProxy, is_never_public

_OWN_LOOKUP_SECONDS = 2.0
"""Where a proxy can look up names too, a resolver that knows nothing of the outside need not be waited for."""
_RECENT_SECONDS = 1.0
_MOST_RECENT = 256


@dataclass(frozen=True, slots=True)
class Hop:
    """The way to an upstream."""

    upstream: Authority
    addresses: Sequence[Address]
    """The upstream's; none when only the proxy may know them."""
    proxy: UpstreamProxy | None = None
    """What is dialled in place of the upstream."""


class RecentHops:
    """What was looked up and classified a moment ago: a program that opens ten connections asks once."""

    def __init__(self) -> None:
        self._found: dict[Authority, tuple[float, Hop]] = {}

    def get(self, authority: Authority, now: float) -> Hop | None:
        """Return the way to it; None when it was not found in the last second. `now` is of any clock."""
        found = self._found.get(authority)
        return found[1] if found is not None and now - found[0] < _RECENT_SECONDS else None

    def put(self, authority: Authority, hop: Hop, now: float) -> None:
        """Keep what was found at `now`, when it was asked for."""
        if len(self._found) >= _MOST_RECENT:
            self._found.clear()
        self._found[authority] = (now, hop)


async def look_up_if_known(authority: Authority, *, seconds: float) -> list[Address]:
    """Return the addresses that this machine knows of a host behind the proxy, none when it knows none."""
    try:
        return await look_up(authority, seconds=min(seconds, _OWN_LOOKUP_SECONDS))
    except AnswerError:
        return []


def closed_to_proxy(proxy: UpstreamProxy, host: str, addresses: Sequence[Address]) -> str | None:
    """Return why the proxy is not asked for a host, None when it is. `addresses` are what this machine found for it."""
    if host == proxy.host:
        return "is the upstream proxy itself"
    if not addresses and is_never_public(host):
        return "is no public name, and this machine does not know it"
    return None


async def take(hop: Hop, *, seconds: float, forwarded: bool = False) -> Stream:
    """Return a connection to the upstream; with `forwarded`, one to the proxy, if any, that takes requests for it.

    AnswerError when there is none: each of its steps has so many `seconds`.
    """
    if hop.proxy is None:
        return await dial(hop.upstream, hop.addresses, seconds=seconds)
    stream = await _dial_proxy(hop.proxy, seconds=seconds)
    try:
        if not forwarded:
            await _open_tunnel(stream, hop.proxy, hop.upstream, seconds=seconds)
    except BaseException:
        stream.close()
        raise
    return stream


async def _dial_proxy(proxy: UpstreamProxy, *, seconds: float) -> Stream:
    """Whatever address it has: it is the operator's."""
    authority = Authority(proxy.host, proxy.port)
    try:
        return await dial(authority, await look_up(authority, seconds=seconds), seconds=seconds)
    except AnswerError as error:
        raise AnswerError(error.status, f"The upstream proxy cannot be reached: {error.sentence}") from error


async def _open_tunnel(stream: Stream, proxy: UpstreamProxy, upstream: Authority, *, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            status = await _connect(stream, proxy, upstream)
    except TimeoutError as error:
        what = f"did not answer within {seconds:g} s"
        raise proxy_failure(proxy, what, HTTPStatus.GATEWAY_TIMEOUT) from error
    except h11.RemoteProtocolError as error:
        raise proxy_failure(proxy, "did not answer in HTTP/1.1") from error
    except OSError as error:
        raise proxy_failure(proxy, f"broke the connection: {error.strerror}") from error
    if status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        raise credentials_refused(proxy)
    if status >= HTTPStatus.MULTIPLE_CHOICES:
        raise proxy_failure(proxy, f"opened no tunnel to {upstream}: its status was {status}")


async def _connect(stream: Stream, proxy: UpstreamProxy, upstream: Authority) -> int:
    """Ask for a tunnel, and return the answer's status. What came behind a head that grants it stays to be received."""
    far = h11.Connection(h11.CLIENT, max_incomplete_event_size=LARGEST_HEAD_BYTES)
    headers = [(b"Host", str(upstream).encode()), *authorization_header(proxy)]
    await stream.send(far.send(h11.Request(method="CONNECT", target=str(upstream), headers=headers)) or b"")
    while True:
        match far.next_event():
            case h11.NEED_DATA:
                far.receive_data(await stream.receive())
            case h11.Response(status_code=status):
                stream.unread(far.trailing_data[0])
                return status
            case h11.InformationalResponse():
                pass
            case event:
                raise h11.RemoteProtocolError(f"unexpected {event!r}")


def authorization_header(proxy: UpstreamProxy) -> list[tuple[bytes, bytes]]:
    """Return the header that carries the credentials, none where there are none."""
    authorization = proxy.authorization
    return [] if authorization is None else [(b"Proxy-Authorization", authorization.reveal().encode())]


def credentials_refused(proxy: UpstreamProxy) -> AnswerError:
    """Return the answer for a sandbox, whose own credentials are not what was asked for."""
    return proxy_failure(
        proxy, "did not take the credentials of Cloister's setting upstream_proxy (its status was 407)"
    )


def proxy_failure(proxy: UpstreamProxy, what: str, status: HTTPStatus = HTTPStatus.BAD_GATEWAY) -> AnswerError:
    """Return the answer that names the proxy as what failed."""
    return AnswerError(status, f"The upstream proxy {proxy} {what}.")
