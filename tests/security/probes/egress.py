"""Speaks raw bytes to the proxy, one vector after the other, and prints what came back of each, as JSON."""

import json
import os
import socket
import ssl
import struct
import sys
from pathlib import Path

PROXY = ("127.0.0.1", 3128)
SECONDS = 4.0


def extension(number: int, content: bytes) -> bytes:
    return struct.pack("!HH", number, len(content)) + content


def server_names(names: list[bytes]) -> bytes:
    entries = b"".join(struct.pack("!BH", 0, len(name)) + name for name in names)
    return extension(0, struct.pack("!H", len(entries)) + entries)


def client_hello(names: list[str]) -> bytes:
    """A ClientHello of TLS 1.2 that any server answers (RFC 5246, 7.4.1.2), with these server names."""
    extensions = server_names([name.encode("latin-1") for name in names]) if names else b""
    extensions += extension(10, struct.pack("!HHH", 4, 29, 23))  # groups x25519, secp256r1
    extensions += extension(11, b"\x01\x00")
    extensions += extension(13, struct.pack("!HHHH", 6, 0x0403, 0x0804, 0x0401))
    suites = struct.pack("!HHH", 4, 0xC02B, 0xC02F)
    body = b"\x03\x03" + os.urandom(32) + b"\x00" + suites + b"\x01\x00" + struct.pack("!H", len(extensions))
    body += extensions
    handshake = b"\x01" + struct.pack("!I", len(body))[1:] + body
    return b"\x16\x03\x01" + struct.pack("!H", len(handshake)) + handshake


def first_bytes(connection: socket.socket) -> bytes:
    data = b""
    while len(data) < 12:
        more = connection.recv(65536)
        if not more:
            break
        data += more
    return data


def read_answer(connection: socket.socket) -> bytes:
    """A whole answer with a Content-Length, so that the next one can be told from it."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            return data
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    while lengths and len(body) < int(lengths[0]):
        more = connection.recv(65536)
        if not more:
            break
        body += more
    return head + b"\r\n\r\n" + body


def name_of(data: bytes) -> str:
    if data.startswith(b"HTTP/1."):
        return data[9:12].decode()
    return {b"\x16": "tls", b"\x15": "alert", b"": "closed"}.get(data[:1], "data")


def follow_https(vector: dict, connection: socket.socket) -> str:
    context = ssl.create_default_context()
    context.load_verify_locations("/cloister/in/authority.pem")  # of the origins, for the twin
    with context.wrap_socket(connection, server_hostname=vector["send"].split()[1].split(":")[0]) as stream:
        stream.sendall(vector["https"].encode())
        if "again" in vector:
            read_answer(stream)
            stream.sendall(vector["again"].encode())
        return name_of(first_bytes(stream))


def follow(vector: dict, connection: socket.socket) -> str:
    padded = vector["send"].replace("<pad>", "a" * vector.get("pad_bytes", 0))
    connection.sendall(padded.encode("utf-8"))
    if "again" in vector and "https" not in vector:
        read_answer(connection)
        connection.sendall(vector["again"].encode("utf-8"))
    answer = first_bytes(connection)
    in_tunnel = not {"hello", "data", "https"}.isdisjoint(vector)
    if not in_tunnel or not answer.startswith(b"HTTP/1.1 200"):
        return name_of(answer)
    if "https" in vector:
        return follow_https(vector, connection)
    if "hello" in vector:
        names = [name for name in (vector["hello"], vector.get("second")) if name is not None]
        connection.sendall(client_hello(names))
    else:
        connection.sendall(vector["data"].encode("latin-1"))
    return name_of(first_bytes(connection))


def probe(vector: dict) -> str:
    try:
        with socket.create_connection(PROXY, timeout=SECONDS) as connection:
            return follow(vector, connection)
    except TimeoutError:
        return "silent"
    except ConnectionError:
        return "reset"


vectors = json.loads(Path(sys.argv[1]).read_text())
print(json.dumps({vector["id"]: probe(vector) for vector in vectors}))
