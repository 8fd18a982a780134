"""Looks from inside a sandbox at what the table of phases speaks of, and prints one JSON object.

Arguments: the directories to search for secrets.
"""

import hashlib
import json
import os
import re
import socket
import ssl
import subprocess
import sys
from pathlib import Path

PUBLIC, PUBLIC_6, METADATA = "93.184.215.14", "2606:2800:21f::1", "169.254.169.254"
CANARY = re.compile(rb"cnry_[0-9a-f]{32}")


def attempt(action):
    """What came of it, or the name of the error."""
    try:
        return action()
    except OSError as error:
        return type(error).__name__ + ": " + (error.strerror or str(error))


def connect(family, kind, address):
    """The first line that comes back."""
    with socket.socket(family, kind) as probe:
        probe.settimeout(5)
        probe.connect(address)
        probe.send(b"GET / HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n")
        return probe.recv(1000).decode().partition("\r\n")[0]


def look_up(name):
    return sorted({entry[4][0] for entry in socket.getaddrinfo(name, 80)})


def ask_proxy(request):
    with socket.create_connection(("127.0.0.1", 3128), timeout=10) as proxy:
        proxy.sendall(request.encode())
        answer = b""
        while data := proxy.recv(65536):
            answer += data
    return answer.decode()


def get(url):
    host = url.split("/")[2]
    return ask_proxy(f"GET {url} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")


def tunnel(authority):
    with socket.create_connection(("127.0.0.1", 3128), timeout=10) as proxy:
        proxy.sendall(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
        head = proxy.recv(65536).decode()
        if not head.startswith("HTTP/1.1 200 "):
            return head
        context = ssl._create_unverified_context()
        with context.wrap_socket(proxy, server_hostname=authority.split(":")[0]) as stream:
            stream.sendall(b"GET / HTTP/1.1\r\n\r\n")
            return stream.recv(100).decode()


def digests(data):
    """Of the canaries in it: their values are never printed."""
    return [hashlib.sha256(found).hexdigest() for found in CANARY.findall(data)]


def memory(pid):
    found = []
    with Path(f"/proc/{pid}/maps").open() as maps, Path(f"/proc/{pid}/mem").open("rb", 0) as memory:
        for line in maps:
            start, end = (int(part, 16) for part in line.split()[0].split("-"))
            if line.split()[1].startswith("r") and "[v" not in line:
                memory.seek(start)
                found += digests(memory.read(end - start))
    return found


def canaries():
    """Where there is one: environments, command lines and memory of all processes, and files."""
    places = {}
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        for name in ("environ", "cmdline"):
            try:
                places[f"{process}/{name}"] = digests((process / name).read_bytes())
            except OSError:
                continue
        try:
            places[f"{process}/mem"] = memory(process.name)
        except OSError:
            continue
    search = ["rg", "--text", "-uuu", "--no-messages", "--files-with-matches", "--glob=!/proc", "--glob=!/sys"]
    # From the root, which is what the globs are relative to.
    found = subprocess.run([*search, "cnry_[0-9a-f]{32}", *sys.argv[1:]], capture_output=True, text=True, cwd="/")
    listed = found.stdout if sys.argv[1:] else ""
    for path in listed.splitlines():
        places[path] = digests(Path(path).read_bytes())
    return {place: found for place, found in places.items() if found}


def report():
    inet, inet6, tcp, udp, raw = socket.AF_INET, socket.AF_INET6, socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW
    return {
        "http": attempt(lambda: get("http://example.com/")),
        "other": attempt(lambda: get("http://other.org/")),
        "metadata": attempt(lambda: get(f"http://{METADATA}/")),
        "https": attempt(lambda: tunnel("example.com:443")),
        "direct": {
            "tcp": attempt(lambda: connect(inet, tcp, (PUBLIC, 80))),
            "tcp6": attempt(lambda: connect(inet6, tcp, (PUBLIC_6, 80))),
            "udp": attempt(lambda: connect(inet, udp, (PUBLIC, 123))),
            "udp6": attempt(lambda: connect(inet6, udp, (PUBLIC_6, 123))),
            "icmp": attempt(lambda: socket.socket(inet, raw, socket.IPPROTO_ICMP).close()),
            "ping": attempt(lambda: socket.socket(inet, udp, socket.IPPROTO_ICMP).connect((PUBLIC, 0))),
            "packet": attempt(lambda: socket.socket(socket.AF_PACKET, raw, 0x300).close()),
            "vsock": attempt(lambda: socket.socket(socket.AF_VSOCK, tcp).close()),
            "name": attempt(lambda: look_up("example.com")),
            "resolver": attempt(lambda: connect(inet, tcp, ("127.0.0.1", 53))),
        },
        "interfaces": sorted(path.name for path in Path("/proc/sys/net/ipv4/conf").iterdir()),
        "phase": os.environ["CLOISTER_PHASE"],
        "variable": os.environ.get("COLOUR"),
        "token": hashlib.sha256(os.environ.get("TOKEN", "").encode()).hexdigest(),
        "canaries": canaries(),
        "processes": sorted(int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()),
    }


if __name__ == "__main__":
    print(json.dumps(report()))
