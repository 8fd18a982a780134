"""A repository of git that an origin serves as files, which is all that a clone needs (gitprotocol-http(5), "dumb")."""

import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .origin import read_request


@dataclass(frozen=True)
class Answers:
    """Answers with the files of a folder: to git, that is a repository; and with `hello` to `/`."""

    folder: Path

    def __call__(self, stream: socket.socket, request: bytes) -> None:
        while request:
            status, body = self._find(request.split(b" ")[1].decode().partition("?")[0])
            stream.sendall(b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body))
            request = read_request(stream)

    def _find(self, path: str) -> tuple[bytes, bytes]:
        file = self.folder / path.lstrip("/")
        if path == "/":
            return b"200 OK", b"hello"
        return (b"200 OK", file.read_bytes()) if file.is_file() else (b"404 Not Found", b"")


def make_repository(folder: Path, content: str) -> None:
    """Make the bare repository `git` below `folder`, with one `file`."""
    work = folder / "work"
    author = ("-c", "user.name=a", "-c", "user.email=a@example.com")
    work.mkdir()
    (work / "file").write_text(content)
    for command in (
        ("-C", str(work), "init", "--quiet"),
        ("-C", str(work), "add", "file"),
        ("-C", str(work), *author, "commit", "--quiet", "-m", "first"),
        ("clone", "--quiet", "--bare", str(work), str(folder / "git")),
        ("-C", str(folder / "git"), "update-server-info"),
    ):
        subprocess.run(["git", *command], check=True)
