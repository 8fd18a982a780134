"""TLS over a connection, on either side, with the same methods as the connection itself."""

import asyncio
import contextlib
import socket
import ssl

from cloister.egress.stream import FAREWELL_SECONDS, Stream

_CHUNK_BYTES = 64 * 1024
_MOST_AT_ONCE = 4
"""Chunks that are taken without waiting: of who sends faster than we read there is no end."""


class TlsStream(Stream):
    """A `Stream` whose bytes are protected. The handshake is done by `shake_hands`, which must come first.

    Methods raise OSError (`ssl.SSLError` is one) when the connection breaks or the peer is not who it should be.
    """

    def __init__(self, inner: Stream, context: ssl.SSLContext, *, server_name: str | None = None) -> None:
        """`server_name` makes us the client, of that server; without it we are the server."""
        self._inner = inner
        self._unread = b""
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_name is None, server_hostname=server_name
        )
        self._sending = asyncio.Lock()

    async def shake_hands(self, *, seconds: float) -> None:
        """Agree on keys, and as a client verify the server. TimeoutError, OSError."""
        try:
            async with asyncio.timeout(seconds):
                while not self._step_of_handshake():
                    await self._flush()
                    await self._fill()
        finally:
            await self._flush()  # also the alert that says why not

    @property
    def plain_socket(self) -> socket.socket:
        """Not to be had: the socket carries what is protected."""
        raise TypeError("the bytes of a socket under TLS are not the stream's")

    async def receive(self) -> bytes:
        """Return some bytes; none at the end."""
        if self._unread:
            return self.take_unread()
        while True:
            try:
                return self._tls.read(_CHUNK_BYTES)
            except ssl.SSLWantReadError:
                await self._flush()
                await self._fill()
            except ssl.SSLZeroReturnError:
                return b""

    def receive_now(self) -> bytes | None:
        """Return what waits to be received, none at the end; None when nothing waits. OSError."""
        if self._unread:
            data, self._unread = self._unread, b""
            return data
        for _ in range(_MOST_AT_ONCE):
            if (more := self._inner.receive_now()) is None:
                break
            if not more:
                self._incoming.write_eof()
                break
            self._incoming.write(more)
        try:
            return self._tls.read(_CHUNK_BYTES)
        except ssl.SSLWantReadError:  # such as after a session ticket, which is nothing for us
            return None
        except ssl.SSLZeroReturnError:
            return b""

    async def send(self, data: bytes) -> None:
        """Return when the kernel has taken all of it."""
        view = memoryview(data)
        while view:
            view = view[self._tls.write(view[:_CHUNK_BYTES]) :]
            await self._flush()

    def finish_sending(self) -> None:
        """Do nothing: TLS 1.3 could end one direction, but many peers take that for the end of both."""

    async def close_in_order(self) -> None:
        """Say that no more comes, and end the connection such that the peer gets all that was sent to it.

        One that does not take our word within a moment sees a reset: it must not take what it has for all.
        """
        with contextlib.suppress(OSError):
            self._tls.unwrap()
        try:
            async with asyncio.timeout(FAREWELL_SECONDS):
                await self._flush()
        except TimeoutError:
            self.close()
        except OSError:
            pass  # it has gone
        await self._inner.close_in_order()

    def close(self) -> None:
        """Close at once; unless it was ended in order, the peer sees a reset. Harmless twice."""
        self._inner.close()

    def _step_of_handshake(self) -> bool:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    async def _flush(self) -> None:
        """Hand what TLS has to say to the connection, in order: both directions of a tunnel may come here."""
        async with self._sending:
            if data := self._outgoing.read():
                await self._inner.send(data)

    async def _fill(self) -> None:
        data = await self._inner.receive()
        if not data:
            self._incoming.write_eof()
            return
        self._incoming.write(data)
