"""Joins the user's terminal with one in a sandbox."""

import os
import signal
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from cloister.protocols import Terminal

READ_BYTES = 4096


class Recording(Protocol):
    """Is told what a user sees."""

    def show(self, data: bytes) -> None:
        """The terminal showed this."""
        ...

    def resize(self, columns: int, rows: int) -> None:
        """The window has this size from here on."""
        ...


async def join_terminals(terminal: Terminal, recording: Recording | None = None) -> None:
    """Carry bytes both ways and the window's size in, until the program has ended; then close `terminal`.

    What is shown is recorded, nothing that is typed. The user's own terminal is as before afterwards, also after an
    error or a cancellation.
    """
    source, target = sys.stdin.fileno(), sys.stdout.fileno()
    try:
        with _raw(source):
            async with anyio.create_task_group() as group:
                group.start_soon(_keep_size, terminal, target, recording)
                group.start_soon(_type, terminal, source, group)
                await _show(terminal, target, recording)
                group.cancel_scope.cancel()
    finally:
        terminal.close()


@contextmanager
def _raw(descriptor: int) -> Iterator[None]:
    """Let every key through as it is; afterwards drop what was typed, or answered by the terminal, too late."""
    before = termios.tcgetattr(descriptor)
    tty.setraw(descriptor)
    try:
        yield
    finally:
        with suppress(termios.error):  # it is gone, and its modes with it
            termios.tcsetattr(descriptor, termios.TCSAFLUSH, before)


async def _show(terminal: Terminal, target: int, recording: Recording | None) -> None:
    with suppress(OSError):  # the user's terminal has gone
        while data := await terminal.read():
            if recording is not None:
                recording.show(data)
            while data:  # in a thread, because a terminal that is stopped makes us wait, and a worker runs here too
                written = await anyio.to_thread.run_sync(os.write, target, data, abandon_on_cancel=True)
                data = data[written:]


async def _type(terminal: Terminal, source: int, group: TaskGroup) -> None:
    while True:
        await anyio.wait_readable(source)
        data = b""
        with suppress(OSError):
            data = os.read(source, READ_BYTES)
        if not data:  # the user's terminal has gone
            group.cancel_scope.cancel()
            return
        await terminal.write(data)


async def _keep_size(terminal: Terminal, target: int, recording: Recording | None) -> None:
    with anyio.open_signal_receiver(signal.SIGWINCH) as signals:
        _tell_size(terminal, target, recording)
        async for _ in signals:
            _tell_size(terminal, target, recording)


def _tell_size(terminal: Terminal, target: int, recording: Recording | None) -> None:
    size = os.get_terminal_size(target)
    terminal.resize(size.columns, size.lines)
    if recording is not None:
        recording.resize(size.columns, size.lines)
