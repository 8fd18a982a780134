"""Connections of programs that know nothing of the proxy: whom they are for is read from their first bytes.

The address that was dialled tells little: names get addresses that merely stand for them. So TLS is judged by its
server name and plain HTTP by `Host`; from there on they are what a tunnel, or a request, to that host would be.
"""

import asyncio
import re
import socket
from contextlib import closing, suppress

from cloister.egress.addresses import Address
from cloister.egress.answer import AnswerError
from cloister.egress.first_bytes import ACCESS_DENIED_ALERT, receive_hello, starts_with_tls
from cloister.egress.front import answer_failures, read_first_head, read_next_head
from cloister.egress.gate import Gate
from cloister.egress.gateway import HTTP_PORT, HTTPS_PORT
from cloister.egress.proxy import serve_exchange, serve_tunnel
from cloister.egress.redirected import original_destination
from cloister.egress.request import Authority, MalformedError, new_server, parse_authority, parse_request
from cloister.egress.route import Route
from cloister.egress.stand_ins import StandIns
from cloister.egress.stream import Stream
from cloister.model.network import parse_host

_SERVER_SPEAKS_FIRST_SECONDS = 0.5
"""A client that is silent for so long waits for the server, as those of SSH and SMTP do."""
_PLAIN_REQUEST = re.compile(rb"(GET|HEAD|POST|PUT|DELETE|OPTIONS|PATCH|TRACE|CONNECT) ")
_HOST = re.compile(rb"^host:[ \t]*([^\r\n]*?)[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)


async def serve_caught(stand_ins: StandIns, gate: Gate, client: Stream) -> None:
    """Serve one connection to its end. Raises nothing but cancellation; the caller closes `client`."""
    with suppress(OSError, EOFError, TimeoutError):  # one end has gone: the other sees a reset
        dialled = _original_destination(client.plain_socket)
        if dialled is not None:
            address, port = dialled
            await _serve(gate, client, Authority(stand_ins.name(address) or str(address), port))


async def _serve(gate: Gate, client: Stream, dialled: Authority) -> None:
    first = b"" if dialled.port == HTTP_PORT else await _first_bytes(gate, client, dialled.port)
    if dialled.port == HTTP_PORT or _PLAIN_REQUEST.match(first):
        with closing(Route(gate)) as route:
            await answer_failures(gate, client, _serve_requests(gate, client, route, dialled))
    elif starts_with_tls(first):
        await _serve_tls(gate, client, dialled)
    else:
        with suppress(AnswerError):  # there are no words for a protocol that nobody knows, so it is reset
            await serve_tunnel(gate, client, dialled, greeting=b"")


async def _first_bytes(gate: Gate, client: Stream, port: int) -> bytes:
    """Return the bytes that a client begins with, which stay to be read; none when it waits for the server."""
    is_patient = port == HTTPS_PORT
    seconds = gate.settings.request_seconds if is_patient else _SERVER_SPEAKS_FIRST_SECONDS
    try:
        async with asyncio.timeout(seconds):
            data = await client.receive()
    except TimeoutError:
        if is_patient:
            raise
        return b""
    if not data:
        raise EOFError
    client.unread(data)
    return data


async def _serve_requests(gate: Gate, client: Stream, route: Route, dialled: Authority) -> None:
    """Serve plain requests as a proxy does, although they name no more than a path."""
    head = await read_first_head(client, gate.settings.request_seconds)
    while head is not None:
        near = new_server()
        request = parse_request(near, head, inside=_named_by_host(head, dialled))
        if not await serve_exchange(gate, client, near, request, route):
            return
        head = await read_next_head(client, gate.settings.idle_seconds)


def _named_by_host(head: bytes, dialled: Authority) -> Authority:
    """Return whom a request is for: `Host`, at the port that was dialled. The strict reading comes after this one."""
    named = _HOST.search(head)
    if named is None:
        return dialled
    try:
        host = parse_authority(named[1].decode("latin-1"), default_port=HTTP_PORT).host
    except ValueError as error:
        raise MalformedError(str(error)) from error
    return Authority(host, dialled.port)


async def _serve_tls(gate: Gate, client: Stream, dialled: Authority) -> None:
    authority = Authority(await _server_name(gate, client) or dialled.host, dialled.port)
    try:
        await serve_tunnel(gate, client, authority, greeting=b"")
    except AnswerError:
        await client.send(ACCESS_DENIED_ALERT)
        await client.close_in_order()


async def _server_name(gate: Gate, client: Stream) -> str | None:
    """Return the host that a ClientHello names; None when it names none, which the tunnel will judge."""
    try:
        hello = await receive_hello(client, seconds=gate.settings.request_seconds)
        return parse_host(hello.server_name) if hello.server_name is not None else None
    except ValueError:
        return None


def _original_destination(connection: socket.socket) -> tuple[Address, int] | None:
    """Return where the client wanted to go; None when it dialled our listener. OSError when it was not led here."""
    address, port = original_destination(connection)
    return None if address.is_loopback else (address, port)
