"""A user at a terminal: `cloister` on a pseudo-terminal of its own, which a test types on and reads."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .warm import Warm

SECONDS = 60.0
"""Until something that is waited for must have been printed."""


class User:
    """Types on a terminal, and reads what it shows."""

    def __init__(self, terminal: int, process: "subprocess.Popen[bytes]") -> None:
        self._terminal = terminal
        self._seen = 0
        self.process = process
        self.shown = ""

    def reads(self, pattern: str) -> "re.Match[str]":
        """Wait until something new on the screen matches."""
        deadline = time.monotonic() + SECONDS
        while (found := re.compile(pattern).search(self.shown, self._seen)) is None:
            assert self._take(deadline - time.monotonic()), f"{pattern!r} never came: {self.shown!r}"
        self._seen = found.end()
        return found

    def types(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def resizes(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def modes(self) -> list[object]:
        return termios.tcgetattr(self._terminal)

    def leaves(self) -> None:
        """Close the window."""
        os.close(self._terminal)
        self._terminal = -1

    def ends(self) -> int:
        """Read on until the command has ended; return its exit code."""
        deadline = time.monotonic() + SECONDS
        while self.process.poll() is None and time.monotonic() < deadline:
            self._take(0.1)
        while self._terminal >= 0 and self._take(0.0):
            pass
        return self.process.wait(timeout=1)

    def _take(self, seconds: float) -> bool:
        if self._terminal < 0:
            time.sleep(seconds)
            return False
        ready, _, _ = select.select([self._terminal], [], [], max(0.0, seconds))
        if not ready:
            return False
        try:
            data = os.read(self._terminal, 65536)
        except OSError:  # nobody has the other end any more
            return False
        self.shown += data.decode(errors="replace")
        return bool(data)


@contextmanager
def at_terminal(command: list[str], *, cwd: Path, variables: Mapping[str, str], warm: bool = False) -> Iterator[User]:
    """Start a command on a new terminal, of which it is the session's leader, as in a terminal's window.

    With `warm`, the command is `cloister`, and forked from a process that has imported it.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    options: dict[str, Any] = {"cwd": cwd, "env": {**variables, "TERM": "xterm"}}
    options |= dict.fromkeys(("stdin", "stdout", "stderr"), theirs)
    if warm:
        process: subprocess.Popen[bytes] = Warm(command, terminal=True, **options)
    else:
        process = subprocess.Popen(["setsid", "--ctty", *command], **options)
    user = User(ours, process)
    try:
        yield user
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(theirs)
        if user._terminal >= 0:
            os.close(user._terminal)
