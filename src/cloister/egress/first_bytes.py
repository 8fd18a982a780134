"""What a tunnel begins with: TLS must be for the tunnel's own host before any of it goes up."""

import asyncio
import contextlib

from cloister.egress.addresses import is_address
from cloister.egress.client_hello import ClientHello, parse_client_hello
from cloister.egress.request import Authority
from cloister.egress.stream import Stream
from cloister.model.network import parse_host

_TLS_HANDSHAKE = b"\x16"
ACCESS_DENIED_ALERT = bytes((21, 3, 1, 0, 2, 2, 49))
"""A fatal TLS alert `access_denied` (RFC 8446, 6.2): where no HTTP answer can be given."""


class ForeignTunnelError(Exception):
    """A tunnel's first bytes are not what a tunnel to that host carries; the message says why."""


def starts_with_tls(data: bytes) -> bool:
    """Whether these first bytes are those of TLS."""
    return data[:1] == _TLS_HANDSHAKE


def may_go_up(data: bytes, authority: Authority, *, must_be_tls: bool) -> bool:
    """Return whether a tunnel to `authority` may begin with `data`, all that has come so far; False for too little.

    A tunnel that must not be TLS may be any other protocol, but TLS is for the tunnel's own host there too.
    An encrypted ClientHello is let through when the outer server name is the tunnel's host: clients
    pretend to send one to everybody. Raises ForeignTunnelError.
    """
    if not must_be_tls and not starts_with_tls(data):
        return True
    try:
        hello = parse_client_hello(data)
        if hello is not None:
            _check_server_name(hello, authority)
    except ValueError as error:
        raise ForeignTunnelError(f"this tunnel carries TLS for {authority.host} only: {error}") from error
    return hello is not None


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

    Raises ForeignTunnelError; EOFError when the client leaves.
    """
    try:
        _check_server_name(await receive_hello(client, seconds=seconds), authority)
    except ValueError as error:
        raise ForeignTunnelError(f"this tunnel carries TLS for {authority.host} only: {error}") from error
    except TimeoutError as error:
        raise no_hello_in_time(seconds) from error


def no_hello_in_time(seconds: float) -> ForeignTunnelError:
    """Return what a tunnel that begins with nothing is ended for."""
    return ForeignTunnelError(f"no ClientHello came within {seconds:g} s")


def _check_server_name(hello: ClientHello, authority: Authority) -> None:
    name = hello.server_name
    if name is None:
        if not is_address(authority.host):
            raise ValueError("it has no server name")
        return
    if name == authority.host:
        return  # as most say it
    with contextlib.suppress(ValueError):
        if parse_host(name) == authority.host:
            return
    hidden = " and hides another" if hello.encrypted_hello else ""
    raise ValueError(f"it names the server {name[:253]!r}{hidden}")
