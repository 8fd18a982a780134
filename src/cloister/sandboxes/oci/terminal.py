"""The user's end of a container's terminal, fetched from the supervisor that the runtime sent it to."""

import contextlib
import errno
import fcntl
import os
import socket
import struct
import termios
from pathlib import Path

import anyio

from cloister.errors import ConflictError, NotFoundError
from cloister.protocols import Terminal
from cloister.sandboxes.oci.process import connect_watch, until_gone

READ_BYTES = 64 * 1024
_WINDOW = struct.Struct("HHHH")
"""Rows, columns, and two numbers that nobody uses: `struct winsize` of ioctl_tty(2)."""


async def open_terminal(directory: Path) -> "OciTerminal":
    """Return the terminal of the process in `directory`. Errors as of `SandboxBackend.open_terminal`."""
    watch = connect_watch(directory)
    if watch is None:
        raise _gone(directory)
    try:
        return OciTerminal(await _ask_for_terminal(watch, directory), watch)
    except BaseException:
        watch.close()
        raise


async def _ask_for_terminal(watch: socket.socket, directory: Path) -> int:
    try:
        watch.send(b"terminal\n")
        while True:
            await anyio.wait_readable(watch)
            signs, descriptors, _, _ = socket.recv_fds(watch, 4096, 1)
            if descriptors:
                os.set_blocking(descriptors[0], False)
                os.set_inheritable(descriptors[0], False)
                return descriptors[0]
            if b"t" in signs:
                raise ConflictError(f"the terminal of {directory.name!r} was given to somebody already")
            if not signs:
                raise _gone(directory)
    except (BrokenPipeError, ConnectionResetError) as error:
        raise _gone(directory) from error


def _gone(directory: Path) -> NotFoundError:
    return NotFoundError(f"{directory.name!r} does not run, so it has no terminal")


class OciTerminal:
    """`protocols.Terminal` over a descriptor. The connection is our sign of life for the supervisor."""

    def __init__(self, descriptor: int, watch: socket.socket) -> None:
        self._descriptor = descriptor
        self._watch = watch

    async def read(self) -> bytes:
        """Return what was written; see `protocols.Terminal`."""
        while True:
            await anyio.wait_readable(self._descriptor)
            try:
                return os.read(self._descriptor, READ_BYTES)
            except BlockingIOError:
                continue
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                # Its last process closes the terminal a moment before it counts as ended: to go now looks like a
                # user who hangs up.
                await until_gone(self._watch)
                return b""

    async def write(self, data: bytes) -> None:
        """Type; see `protocols.Terminal`."""
        while data:
            await anyio.wait_writable(self._descriptor)
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:
                continue
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                return

    def resize(self, columns: int, rows: int) -> None:
        """Set the window's size; see `protocols.Terminal`."""
        with contextlib.suppress(OSError):
            fcntl.ioctl(self._descriptor, termios.TIOCSWINSZ, _WINDOW.pack(rows, columns, 0, 0))

    def close(self) -> None:
        """Hang up; see `protocols.Terminal`."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._watch.close()
            self._descriptor = -1


def _conforms(terminal: OciTerminal) -> Terminal:
    return terminal
