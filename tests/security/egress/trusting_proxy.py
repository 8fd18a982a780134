"""A proxy that checks nothing, the twin of ours: it connects wherever it is told to and passes on every byte.

`python trusting_proxy.py FD...`, listening sockets of a sandbox.
"""

import contextlib
import re
import socket
import sys
import threading

_TARGET = re.compile(rb"^(\S+)\s+(?:\w+://)?([^\s/?]*)", re.DOTALL)


def pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


def where(head: bytes) -> tuple[str, int]:
    target = _TARGET.match(head)
    if target is None:
        raise OSError("no target")
    authority = target[2].rpartition(b"@")[2].decode("utf-8", "replace") or "example.com"
    host, _, port = authority.rpartition(":") if not authority.endswith("]") else (authority, "", "")
    if not host:
        host, port = authority, "80"
    return host.strip("[]").split("\0")[0], int(port or 80)


def serve(client: socket.socket) -> None:
    with client, contextlib.suppress(OSError, ValueError, UnicodeError):
        head = client.recv(65536)
        with socket.create_connection(where(head), timeout=5) as upstream:
            if head.startswith(b"CONNECT"):
                client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            else:
                upstream.sendall(head)
            back = threading.Thread(target=pump, args=(upstream, client), daemon=True)
            back.start()
            pump(client, upstream)
            back.join(10)


def accept(listener: socket.socket) -> None:
    while True:
        client, _ = listener.accept()
        threading.Thread(target=serve, args=(client,), daemon=True).start()


for number in sys.argv[1:]:
    threading.Thread(target=accept, args=(socket.socket(fileno=int(number)),)).start()
