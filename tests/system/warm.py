"""`cloister` without the second that importing it takes: forked from a process that has imported it and does no more.

What a command does is the same. It is a child of the process that runs the tests, as any other, and what it is
given, it is given at its start: arguments, directory, variables, streams.
"""

import fcntl
import gc
import importlib
import inspect
import io
import json
import os
import socket
import subprocess
import sys
import termios
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

IMPORTED = (
    "cloister.cli.main",
    "cloister.cli.json_lines",
    "cloister.cli.live",
    "cloister.cli.session",
    "cloister.client",
    "cloister.wiring",
    "cloister.api.app",
    "cloister.codex_api.routes",
    "cloister.mcp.late",
    "cloister.web.routes",
    "uvicorn",
)
_LONGEST = 2**20
_OF_THE_INTERPRETER = ("PYTHON", "LANG", "LC_", "LD_")
"""Variables that are looked at before anything is imported."""

_asking: socket.socket | None = None
_pid = 0


def forker() -> int:
    """Return the id of the process that imports, which belongs to no test; 0 when there is none."""
    return _pid


class Warm(subprocess.Popen[Any]):
    """One command, in place of a program of that name. With `terminal`, its standard input becomes its terminal."""

    def __init__(self, arguments: Sequence[str], *, terminal: bool = False, **options: Any) -> None:
        self._terminal = terminal
        super().__init__(arguments, **options)

    def _execute_child(self, *arguments: Any, **named: Any) -> None:
        """Take the place of fork and exec, between making the pipes and closing their other ends."""
        given = inspect.signature(super()._execute_child).bind(*arguments, **named).arguments  # type: ignore[misc]
        ends = [given[name] for name in ("p2cread", "c2pwrite", "errwrite")]
        request = {
            "arguments": given["args"],
            "directory": str(given["cwd"]),
            "variables": dict(given["env"]),
            "session": given["start_new_session"] or self._terminal,
            "terminal": self._terminal,
        }
        streams = [end if end >= 0 else own for own, end in enumerate(ends)]
        self.pid = _fork(json.dumps(request), streams)
        self._child_created = True
        self._close_pipe_fds(  # type: ignore[attr-defined]
            *(given[name] for name in ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite"))
        )


def is_possible(variables: Mapping[str, str]) -> bool:
    """Whether there is one to fork from, and an interpreter with these variables starts as this one did."""
    names = {name for name in (*variables, *os.environ) if name.startswith(_OF_THE_INTERPRETER)}
    return _asking is not None and all(variables.get(name) == os.environ.get(name) for name in names)


def _fork(request: str, streams: Sequence[int]) -> int:
    assert _asking is not None
    socket.send_fds(_asking, [request.encode()], streams)
    return int(_asking.recv(20))


@contextmanager
def forking() -> Iterator[None]:
    """Have a process that imports, until the end of the outermost block. Whoever asks it has to adopt orphans."""
    global _asking, _pid
    if _asking is not None:
        yield
        return
    _asking, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [sys.executable, "-m", __name__, str(theirs.fileno())]
    with (
        subprocess.Popen(
            command, cwd=Path(__file__).parents[2], pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL
        ) as process,
        _asking,
    ):
        _pid = process.pid
        theirs.close()
        assert _asking.recv(20) == b"ready"
        yield
    _asking, _pid = None, 0


def _serve(requests: socket.socket) -> dict[str, Any] | None:
    """Fork for each request. Return what it was in the forked process, and None at the end in this one."""
    while True:
        data, streams, _, _ = socket.recv_fds(requests, _LONGEST, 3)
        if not data:
            return None
        reading, writing = os.pipe()
        between = os.fork()
        if not between:
            child = os.fork()
            if child:
                os.write(writing, str(child).encode())
                os._exit(0)
            os.close(reading)
            os.close(writing)
            _take(streams)
            return json.loads(data)
        os.waitpid(between, 0)  # from here on the child is one of whoever asked
        requests.send(os.read(reading, 20))
        for descriptor in (reading, writing, *streams):
            os.close(descriptor)


def _take(streams: Sequence[int]) -> None:
    for own, given in enumerate(streams):
        os.dup2(given, own)
    for given in streams:
        os.close(given)


def _become(request: Mapping[str, Any]) -> None:
    if request["session"]:
        os.setsid()
    if request["terminal"]:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    os.chdir(request["directory"])
    os.environ.clear()
    os.environ.update(request["variables"])
    sys.argv = request["arguments"]
    sys.modules["__main__"].__package__ = None  # a command is named after its file, not after this module
    sys.stdin = sys.__stdin__ = _opened(0, "r", like=sys.stdin)
    sys.stdout = sys.__stdout__ = _opened(1, "w", like=sys.stdout)
    sys.stderr = sys.__stderr__ = _opened(2, "w", like=sys.stderr)


def _opened(descriptor: int, mode: str, *, like: TextIO) -> TextIO:
    """Open a stream as the interpreter does. What is standard error is written line by line."""
    newline = None if mode == "r" else "\n"
    file = open(descriptor, mode, encoding=like.encoding, errors=like.errors, newline=newline, closefd=False)  # noqa: SIM115
    assert isinstance(file, io.TextIOWrapper)
    if descriptor == 2:
        file.reconfigure(line_buffering=True)
    return file


def _load_all() -> None:
    """Load what commands load when they are asked for it."""
    from cloister.api.routes import PARTS
    from cloister.api.wire import PREFIX
    from cloister.cli.commands import AllCommands, LaterCommand

    for part in PARTS:
        part.matches({"type": "http", "method": "GET", "path": f"{PREFIX}{part.router.prefix or '/reviews'}"})
    for command in AllCommands().commands.values():
        assert isinstance(command, LaterCommand)
        command.load()


def main() -> None:
    """Import, and become a command whenever one is asked for."""
    with socket.socket(fileno=int(sys.argv[1])) as requests:
        for name in IMPORTED:
            importlib.import_module(name)
        _load_all()
        gc.collect()
        gc.freeze()
        requests.send(b"ready")
        request = _serve(requests)
    if request is not None:
        _become(request)
        from cloister.cli.main import app

        app()


if __name__ == "__main__":
    main()
