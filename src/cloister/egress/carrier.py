"""One direction of a tunnel between two sockets, moved by the event loop's callbacks: no task wakes for a chunk."""

import asyncio
import errno
from collections.abc import Callable
from functools import partial

from cloister.egress.first_bytes import ForeignTunnelError
from cloister.egress.pipes import Pipe, PipePool, PipeShare
from cloister.egress.stream import Stream

_BUFFER_BYTES = 64 * 1024
_BUFFER = memoryview(bytearray(_BUFFER_BYTES))
"""One for all tunnels: whoever reads into it has written it out, or copied the rest, before anybody else runs."""
_TURNS = 4
"""Chunks of one direction before the others have their turn."""
_NO_SPLICE = (errno.EINVAL, errno.ENOSYS)

Screen = Callable[[bytes], bool]
"""Says whether all that has come so far may pass; False for too little. Raises ForeignTunnelError."""


class Carrier:
    """Carries from `source` to `sink` until the source's end, which the sink is told.

    Small amounts are copied: one read and one write cost less than two splices. Once a whole buffer was read
    the direction is busy, and the kernel moves its bytes through a pipe until there are few again. Without
    bytes to carry it holds nothing but the watch on its source.
    """

    _is_paused = False
    """Whether what the source has does not matter now: the sink has its turn, or others, or it is over."""
    _has_ended = False
    _is_busy = False
    _can_splice = True
    _held = b""
    """What the screen has not let pass yet."""
    _rest = b""
    """What the sink has not taken yet."""
    _pipe: Pipe | None = None

    def __init__(
        self,
        source: Stream,
        sink: Stream,
        *,
        count: Callable[[int], None],
        ended: Callable[[Exception | None], None],
        pipes: PipePool | PipeShare,
        screen: Screen | None = None,
    ) -> None:
        """`count` is told how many bytes the sink has taken, each time; `ended` once: of the end, or what failed.

        Nothing is carried before `screen` has let the first bytes pass.
        """
        self._source_stream = source
        self._sink_stream = sink
        self._source = source.plain_socket
        self._sink = sink.plain_socket
        self._count = count
        self._tell_end = ended
        self._screen = screen
        self._pipes = pipes
        self._from = source.watched
        self._to = sink.watched

    @property
    def is_screened(self) -> bool:
        """Whether the first bytes have not passed yet."""
        return self._screen is not None

    def start(self) -> None:
        """Watch the source; what was received of it already comes first."""
        self._from.read_with(self._read)
        if first := self._source_stream.take_unread():
            self._try(partial(self._begin_with, first))

    def _begin_with(self, first: bytes) -> None:
        self._pass(first)
        if self._has_rest():
            self._wait_for_sink()

    def stop(self) -> None:
        """Watch nothing any more, and drop what was not delivered. Harmless twice."""
        if not self._has_ended:
            self._has_ended = self._is_paused = True
            self._from.read_with(None)
            self._to.write_with(None)
            self._give_back()

    def _read(self) -> None:
        """Move what the source has, until it has no more, the sink takes no more, or it is the others' turn."""
        if self._is_paused:
            return
        try:
            self._take_turns()
        except BlockingIOError:
            self._give_back()
        except (OSError, EOFError, ForeignTunnelError) as error:
            self._end(error)

    def _read_on(self) -> None:
        if not self._has_ended:
            self._is_paused = False
            self._read()

    def _try(self, step: Callable[[], None]) -> None:
        try:
            step()
        except BlockingIOError:
            self._give_back()
        except (OSError, EOFError, ForeignTunnelError) as error:
            self._end(error)

    def _take_turns(self) -> None:
        for _ in range(_TURNS):
            if self._is_busy and self._pipe is None:
                self._pipe = self._pipes.take()
            if self._pipe is None:
                moved = self._copy()
                if 0 < moved < _BUFFER_BYTES and not self._rest and not self._from.is_ending:
                    return  # of more that comes, the watch tells
            else:
                moved = self._splice(self._pipe)
            if not moved:
                self._reach_end()
                return
            if self._rest or self._has_rest():
                self._wait_for_sink()
                return
        self._is_paused = True
        asyncio.get_running_loop().call_soon(self._read_on)

    def _wait_for_sink(self) -> None:
        """Watch the sink in place of the source."""
        self._is_paused = True
        self._to.write_with(self._write)

    def _copy(self) -> int:
        count = self._source.recv_into(_BUFFER)
        self._is_busy = count == _BUFFER_BYTES and self._can_splice and self._screen is None
        if count or self._screen is not None:
            self._pass(_BUFFER[:count])
        return count

    def _pass(self, data: memoryview | bytes) -> None:
        """Give the sink what it takes at once of what may pass, and keep the rest."""
        if self._screen is not None:
            data = self._screened(data, self._screen)
        sent = self._send(data)
        if sent < len(data):
            self._rest = bytes(data[sent:])

    def _screened(self, data: memoryview | bytes, screen: Screen) -> bytes:
        """Return all that came, once the screen lets it pass. EOFError at an end before that."""
        if not data:
            raise EOFError
        self._held += data
        if not screen(self._held):
            return b""
        held, self._screen, self._held = self._held, None, b""
        return held

    def _splice(self, pipe: Pipe) -> int:
        try:
            count = pipe.fill(self._source.fileno())
        except OSError as error:
            if error.errno not in _NO_SPLICE:
                raise
            self._can_splice = self._is_busy = False
            self._give_back()
            return self._copy()
        self._is_busy = count >= _BUFFER_BYTES // 4
        self._drain(pipe)
        return count

    def _write(self) -> None:
        """Give the sink more of what it did not take at once, and read on when it has all."""
        if not self._has_ended:
            self._try(self._write_rest)

    def _write_rest(self) -> None:
        if self._pipe is not None:
            self._drain(self._pipe)
        self._rest = self._rest[self._send(self._rest) :]
        if not self._has_rest():
            self._to.write_with(None)
            self._is_paused = False
            self._take_turns()

    def _send(self, data: memoryview | bytes) -> int:
        try:
            sent = self._sink.send(data) if data else 0
        except BlockingIOError:
            return 0
        self._count(sent)
        return sent

    def _drain(self, pipe: Pipe) -> None:
        try:
            while pipe.held_bytes:
                self._count(pipe.drain(self._sink.fileno()))
        except BlockingIOError:
            return
        if not self._is_busy:
            self._give_back()

    def _has_rest(self) -> bool:
        return bool(self._rest) or (self._pipe is not None and self._pipe.held_bytes > 0)

    def _reach_end(self) -> None:
        self._source_stream.ended = True
        if not self._sink_stream.ended:  # else it is about to be closed, which tells the same
            self._sink_stream.finish_sending()
        self._end(None)

    def _end(self, failure: Exception | None) -> None:
        self.stop()
        self._tell_end(failure)

    def _give_back(self) -> None:
        if self._pipe is not None:
            self._pipes.give_back(self._pipe)
            self._pipe = None
