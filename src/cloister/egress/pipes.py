"""Pipes inside the kernel that a tunnel's bytes go through without ever being copied to us (splice(2))."""

import contextlib
import fcntl
import os
from collections.abc import Callable

PIPE_BYTES = 1024 * 1024
MOST_PIPES = 32
"""At once; a user's pipes hold 64 MiB in all before the kernel makes them small (pipe-user-pages-soft)."""
_MOST_SPARE = 8
_FLAGS = os.SPLICE_F_NONBLOCK | os.SPLICE_F_MOVE


class Pipe:
    """One pipe, and how much is in it. Not for more than one direction of one tunnel at a time."""

    def __init__(self) -> None:
        """OSError when the process or the machine has no descriptors left."""
        self._outlet, self._inlet = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        with contextlib.suppress(OSError):  # a small one carries too
            fcntl.fcntl(self._inlet, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self.held_bytes = 0

    def fill(self, source: int) -> int:
        """Take what `source` has, as far as it fits, and return how much that was; 0 at its end.

        BlockingIOError when there is nothing at the moment.
        """
        count = os.splice(source, self._inlet, PIPE_BYTES, flags=_FLAGS)
        self.held_bytes += count
        return count

    def drain(self, sink: int) -> int:
        """Give `sink` what it takes, and return how much that was. BlockingIOError when it takes nothing."""
        count = os.splice(self._outlet, sink, self.held_bytes, flags=_FLAGS)
        self.held_bytes -= count
        return count

    def close(self) -> None:
        """Drop it with all that is in it."""
        os.close(self._outlet)
        os.close(self._inlet)


class PipePool:
    """Pipes for who has bytes to put in. One tunnel that is stuck keeps its own; empty ones are used again."""

    def __init__(self, *, most: int = MOST_PIPES, make: Callable[[], Pipe] = Pipe) -> None:
        self._spare: list[Pipe] = []
        self._left = most
        self._make = make

    @property
    def left(self) -> int:
        """How many can still be taken."""
        return len(self._spare) + self._left

    def take(self) -> Pipe | None:
        """Return an empty pipe; None when there is none to be had, and bytes have to be copied."""
        if self._spare:
            return self._spare.pop()
        if self._left == 0:
            return None
        try:
            pipe = self._make()
        except OSError:
            return None
        self._left -= 1
        return pipe

    def give_back(self, pipe: Pipe) -> None:
        """Take a pipe back. One that still holds bytes is closed: they are another tunnel's."""
        if pipe.held_bytes == 0 and len(self._spare) < _MOST_SPARE:
            self._spare.append(pipe)
        else:
            self._left += 1
            pipe.close()


_of_this_process = PipePool()


class PipeShare:
    """One sandbox's pipes: at most as many as are left for the others, so that it can never take them all."""

    def __init__(self, pool: PipePool = _of_this_process) -> None:
        self._pool = pool
        self._taken = 0

    def take(self) -> Pipe | None:
        """Return an empty pipe; None when the share is used up, and bytes have to be copied."""
        pipe = self._pool.take() if self._taken < self._pool.left else None
        if pipe is not None:
            self._taken += 1
        return pipe

    def give_back(self, pipe: Pipe) -> None:
        """Take a pipe back, as the pool does."""
        self._taken -= 1
        self._pool.give_back(pipe)
