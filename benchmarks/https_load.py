"""Origin and client of intercepted HTTPS: both do as little as they can, so that neither is what is measured.

https_load.py origin ADDRESS PORT CERTIFICATE
    Answer every request with 64 bytes. Prints `ready`.
https_load.py load PROXY-PORT NAME COUNT AT-ONCE
    Make COUNT requests over AT-ONCE connections through the proxy, which are opened before; print the seconds.
"""

import asyncio
import socket
import ssl
import sys
import time
from typing import cast

import uvloop

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 64\r\nContent-Type: text/plain\r\n\r\n" + b"x" * 64
PORT = 443


class Origin(asyncio.Protocol):
    """Answers each head that comes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the connection."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Heads are small: each comes whole."""
        self._transport.write(ANSWER * data.count(b"\r\n\r\n"))


async def serve(address: str, port: int, certificate: str) -> None:
    """Serve until killed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = await asyncio.get_running_loop().create_server(Origin, address, port, ssl=context)
    print("ready", flush=True)
    await server.serve_forever()


def open_connection(proxy_port: int, name: str) -> ssl.SSLSocket:
    """Return TLS with whoever answers behind the proxy; whose certificate it is does not matter here."""
    plain = socket.create_connection(("127.0.0.1", proxy_port))
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    plain.sendall(f"CONNECT {name}:{PORT} HTTP/1.1\r\nHost: {name}:{PORT}\r\n\r\n".encode())
    if not plain.recv(1000).startswith(b"HTTP/1.1 200 "):
        raise RuntimeError("the proxy opens no tunnel")
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(plain, server_hostname=name)


def receive_answer(connection: ssl.SSLSocket) -> None:
    """Return when a whole answer was read."""
    data = b""
    while b"\r\n\r\n" not in data or len(data.partition(b"\r\n\r\n")[2]) < 64:
        more = connection.recv(65536)
        if not more or not (data + more).startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(f"no answer: {(data + more)[:200]!r}")
        data += more


def load(proxy_port: int, name: str, count: int, at_once: int) -> float:
    """Return the seconds that the requests took."""
    request = f"GET /some/path HTTP/1.1\r\nHost: {name}\r\nUser-Agent: load\r\nAccept: */*\r\n\r\n".encode()
    connections = [open_connection(proxy_port, name) for _ in range(at_once)]
    for round in (1, count // at_once):  # the first opens the way to the origin
        began = time.monotonic()
        for _ in range(round):
            for connection in connections:
                connection.sendall(request)
            for connection in connections:
                receive_answer(connection)
    return time.monotonic() - began


match sys.argv[1:]:
    case ["origin", address, port, certificate]:
        uvloop.run(serve(address, int(port), certificate))
    case ["load", proxy_port, name, count, at_once]:
        print(load(int(proxy_port), name, int(count), int(at_once)))
