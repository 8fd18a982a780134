"""A tunnel's bytes: nothing goes up before the server name was checked, and then both ways until both ends end."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from cloister.egress.addresses import is_address
from cloister.egress.carrier import Carrier
from cloister.egress.client_hello import ClientHello, parse_client_hello
from cloister.egress.request import Authority
from cloister.egress.stream import Stream
from cloister.model.network import parse_host

_TLS_HANDSHAKE = b"\x16"
ACCESS_DENIED_ALERT = bytes((21, 3, 1, 0, 2, 2, 49))
"""A fatal TLS alert `access_denied` (RFC 8446, 6.2): where no HTTP answer can be given."""


def _count_nothing(_: int) -> None:
    pass


class ForeignTunnelError(Exception):
    """A tunnel's first bytes are not what a tunnel to that host carries; the message says why."""


async def receive_hello(client: Stream, *, seconds: float) -> ClientHello:
    """Return the ClientHello that a connection begins with; its bytes stay to be received, whatever happens.

    ValueError when it begins with something else, TimeoutError, EOFError when the client leaves.
    """
    data = b""
    hello = None
    try:
        async with asyncio.timeout(seconds):
            while hello is None:
                more = await client.receive()
                if not more:
                    raise EOFError
                data += more
                hello = parse_client_hello(data)
    finally:
        client.unread(data)
    return hello


async def check_hello(client: Stream, authority: Authority, *, seconds: float) -> None:
    """Return once the client's first bytes are a ClientHello for the tunnel's own host; they stay to be received.

    An encrypted ClientHello is let through when the outer server name is the tunnel's host: clients
    pretend to send one to everybody. Raises ForeignTunnelError; EOFError when the client leaves.
    """
    try:
        hello = await receive_hello(client, seconds=seconds)
        _check_server_name(hello.server_name, authority, encrypted=hello.encrypted_hello)
    except ValueError as error:
        raise ForeignTunnelError(f"this tunnel carries TLS for {authority.host} only: {error}") from error
    except TimeoutError as error:
        raise ForeignTunnelError(f"no ClientHello came within {seconds:g} s") from error


def starts_with_tls(data: bytes) -> bool:
    """Whether these first bytes are those of TLS."""
    return data[:1] == _TLS_HANDSHAKE


async def relay(
    client: Stream,
    upstream: Stream,
    *,
    before_upload: Callable[[], Awaitable[None]] | None = None,
    sent: Callable[[int], None] = _count_nothing,
    received: Callable[[int], None] = _count_nothing,
) -> None:
    """Carry bytes both ways until both ends have ended; then close both in order.

    Each direction waits for its reader, and ends for itself; the client's begins when `before_upload` has
    passed. `sent` is told how many bytes the upstream took, `received` the client, each time. Raises what
    ended a direction before its time, OSError when an end broke.
    """
    try:
        async with asyncio.TaskGroup() as directions:
            directions.create_task(_pump(upstream, client, received))
            directions.create_task(_check_and_pump(client, upstream, before_upload, sent))
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None  # the first: it ended the other direction too
    await asyncio.gather(client.close_in_order(), upstream.close_in_order())


async def _check_and_pump(
    source: Stream, sink: Stream, check: Callable[[], Awaitable[None]] | None, count: Callable[[int], None]
) -> None:
    if check is not None:
        await check()
    await _pump(source, sink, count)


async def _pump(source: Stream, sink: Stream, count: Callable[[int], None]) -> None:
    if source.plain_socket is not None and sink.plain_socket is not None:
        if first := source.take_unread():
            await sink.send(first)
            count(len(first))
        await Carrier(source.plain_socket, sink.plain_socket, count).carry()
        source.ended = True
        return
    while data := await source.receive():
        await sink.send(data)
        count(len(data))
    sink.finish_sending()


def _check_server_name(server_name: str | None, authority: Authority, *, encrypted: bool) -> None:
    if server_name is None:
        if not is_address(authority.host):
            raise ValueError("it has no server name")
        return
    with contextlib.suppress(ValueError):
        if parse_host(server_name) == authority.host:
            return
    hidden = " and hides another" if encrypted else ""
    raise ValueError(f"it names the server {server_name[:253]!r}{hidden}")
