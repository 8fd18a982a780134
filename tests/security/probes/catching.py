"""Does what programs do that know nothing of a proxy, one attempt after the other, and prints what came, as JSON."""

import json
import socket
import ssl
import struct
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

SECONDS = 5.0
_NODE = "require('https').get({0}, r => r.on('data', d => console.log(r.statusCode + ' ' + d)))"
AUTHORITY = "/cloister/in/authority.pem"


def tls(host: str, port: int, server_name: str | None) -> str:
    """The first line that a server answers over TLS."""
    context = ssl.create_default_context(cafile=AUTHORITY)
    if server_name is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection((host, port), timeout=SECONDS) as plain,
        context.wrap_socket(plain, server_hostname=server_name) as stream,
    ):
        stream.sendall(b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n")
        return stream.recv(1000).split(b"\r\n")[0].decode()


def raw(host: str, port: int, text: str) -> str:
    with socket.create_connection((host, port), timeout=SECONDS) as stream:
        stream.sendall(text.encode())
        return stream.recv(1000).decode("latin-1")


def silent(host: str, port: int) -> str:
    """What a client of a protocol hears in which the server speaks first."""
    with socket.create_connection((host, port), timeout=SECONDS) as stream:
        return stream.recv(1000).decode("latin-1")


def urllib_get(address: str) -> str:
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}),
        urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=AUTHORITY)),
    )
    try:
        return opener.open(address, timeout=SECONDS).read().decode()
    except urllib.error.HTTPError as error:
        return f"{error.code} {error.read().decode()}"


def curl(*arguments: str) -> str:
    command = ["curl", "--silent", "--show-error", "--noproxy", "*", "--cacert", AUTHORITY, "--max-time", "5"]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    return done.stdout or f"{done.returncode} {done.stderr}"


def node(address: str) -> str:
    script = _NODE.format(json.dumps(address)) + ".on('error', e => console.log(e.code))"
    done = subprocess.run(
        ["node", "-e", script], capture_output=True, text=True, check=False, env={"NODE_EXTRA_CA_CERTS": AUTHORITY}
    )
    return done.stdout.strip() or done.stderr


def server(address: str, port: int) -> str:
    """What a server of the project's own is sent by a client of the project's own."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    near = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)
    with (
        socket.create_server((address, port), family=family) as listener,
        socket.create_connection((near, port), timeout=SECONDS) as client,
    ):
        client.sendall(b"mine")
        accepted, _ = listener.accept()
        with accepted:
            return accepted.recv(100).decode()


def datagram(host: str, port: int, text: str) -> str:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as client:
        client.settimeout(1.0)
        client.connect((host, port))
        client.send(text.encode())
        return client.recv(1000).decode("latin-1")


def ping(host: str) -> str:
    """An echo by the kind of socket that needs no privilege."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP) as client:
        client.settimeout(1.0)
        client.sendto(struct.pack("!BBHHH", 8, 0, 0xF7FE, 0, 1), (host, 0))
        return f"{len(client.recv(1000))} bytes"


def raw_socket(family: str, kind: str) -> str:
    socket.socket(getattr(socket, family), getattr(socket, kind), socket.IPPROTO_ICMP).close()
    return "made"


def route(kind: int) -> str:
    """Add (24) or delete (25) the route of every address, as root of the sandbox."""
    body = struct.pack("=BBBBBBBBI", socket.AF_INET, 0, 0, 0, 255, 4, 254, 2, 0) + struct.pack("=HHi", 8, 4, 1)
    head = struct.pack("=IHHII", 16 + len(body), kind, 0x1 | 0x4 | 0x400, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
        kernel.send(head + body)
        (result,) = struct.unpack_from("=i", kernel.recv(4096), 16)
    return f"errno {-result}"


def rules() -> str:
    """Delete the rules that catch, by nfnetlink: begin, delete the table, end."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12) as kernel:
        name = b"cloister\0"
        table = struct.pack("=HH", 4 + len(name), 1) + name + b"\0" * (-len(name) % 4)
        parts = []
        for number, family, content in ((16, 0, b""), (10 << 8 | 2, 1, table), (17, 0, b"")):
            subsystem = struct.pack("!BBH", family, 0, 0 if number >> 8 else 10)
            parts.append(struct.pack("=IHHII", 20 + len(content), number, 0x1 | 0x4, 1, 0) + subsystem + content)
        kernel.send(b"".join(parts))
        (result,) = struct.unpack_from("=i", kernel.recv(4096), 16)
    return f"errno {-result}"


def resolve(name: str) -> str:
    found = {entry[4][0] for entry in socket.getaddrinfo(name, 443)}
    return " ".join(sorted(str(address) for address in found))


def attempt(name: str, arguments: list) -> str:
    try:
        return globals()[name](*arguments)
    except (OSError, ssl.SSLError) as error:
        return f"{type(error).__name__} {error}"


attempts = json.loads(Path(sys.argv[1]).read_text())
print(json.dumps([attempt(name, arguments) for name, *arguments in attempts]))
