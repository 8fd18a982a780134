"""Origin and client of calls of a model: both do as little as they can, so that neither is what is measured.

model_load.py origin ADDRESS PORT CERTIFICATE
    Answer every POST with a stream of EVENTS events, one each GAP_SECONDS. Prints `ready`.
model_load.py load direct|door HOST PORT CERTIFICATE COUNT
    Make COUNT calls over one connection that is kept; print the medians of the seconds until the first event, and until
    the end.
"""

import asyncio
import json
import socket
import ssl
import statistics
import sys
import time
from typing import cast

import uvloop

EVENTS = 20
GAP_SECONDS = 0.002
"""A model is ten times as slow."""
BODY_BYTES = 20_000
_USAGE = {"input_tokens": 5000, "input_tokens_details": {"cached_tokens": 4000}, "output_tokens": EVENTS}
_DELTA = json.dumps({"type": "response.output_text.delta", "item_id": "m-1", "output_index": 0, "delta": "word "})
_LAST = json.dumps(
    {"type": "response.completed", "response": {"model": "m-1", "output": ["x" * 2000], "usage": _USAGE}}
)
_END = b"0\r\n\r\n"


def _chunk(event: str) -> bytes:
    data = f"data: {event}\n\n".encode()
    return b"%x\r\n%s\r\n" % (len(data), data)


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
PIECES = [HEAD + _chunk(_DELTA), *[_chunk(_DELTA)] * (EVENTS - 2), _chunk(_LAST) + _END]


class Origin(asyncio.Protocol):
    """Answers each body that comes whole."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the connection."""
        self._transport = cast(asyncio.Transport, transport)
        self._received = b""

    def data_received(self, data: bytes) -> None:
        """Bodies are as long as BODY_BYTES says."""
        self._received += data
        _, mark, body = self._received.partition(b"\r\n\r\n")
        if mark and len(body) >= BODY_BYTES:
            self._received = body[BODY_BYTES:]
            self._answer(PIECES)

    def _answer(self, pieces: list[bytes]) -> None:
        self._transport.write(pieces[0])
        if pieces[1:]:
            asyncio.get_running_loop().call_later(GAP_SECONDS, self._answer, pieces[1:])


async def serve(address: str, port: int, certificate: str) -> None:
    """Serve until killed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = await asyncio.get_running_loop().create_server(Origin, address, port, ssl=context)
    print("ready", flush=True)
    await server.serve_forever()


def connect(how: str, host: str, port: int, certificate: str) -> socket.socket:
    """Return a connection to the provider over TLS, or to the door in front of it."""
    plain = socket.create_connection(("127.0.0.1" if how == "door" else host, port))
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if how == "door":
        return plain
    return ssl.create_default_context(cafile=certificate).wrap_socket(plain, server_hostname=host)


def call(connection: socket.socket, request: bytes) -> tuple[float, float]:
    """Return the seconds until the first event and until the end."""
    began, first, data = time.perf_counter(), 0.0, b""
    connection.sendall(request)
    while not data.endswith(_END):
        more = connection.recv(262_144)
        if not more or not (data + more).startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(f"no answer: {(data + more)[:300]!r}")
        data += more
        first = first or (time.perf_counter() - began if b"data: " in data else 0.0)
    return first, time.perf_counter() - began


def load(how: str, host: str, port: int, certificate: str, count: int) -> tuple[float, float]:
    """Return the medians."""
    connection = connect(how, host, port, certificate)
    named = f"127.0.0.1:{port}" if how == "door" else host
    head = (
        f"POST {'' if how == 'door' else '/v1'}/responses HTTP/1.1\r\nHost: {named}\r\nAuthorization: Bearer sk-x\r\n"
    )
    request = f"{head}Content-Length: {BODY_BYTES}\r\n\r\n".encode() + b"x" * BODY_BYTES
    call(connection, request)  # opens the way
    firsts, ends = zip(*(call(connection, request) for _ in range(count)), strict=True)
    return statistics.median(firsts), statistics.median(ends)


match sys.argv[1:]:
    case ["origin", address, port, certificate]:
        uvloop.run(serve(address, int(port), certificate))
    case ["load", how, host, port, certificate, count]:
        print(json.dumps(load(how, host, int(port), certificate, int(count))))
