"""Bodies that an upstream compressed although it was asked not to: made plain, so that they can be searched."""

import zlib

import h11

_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
"""Which of both it is, zlib sees for itself (zlib.h, inflateInit2)."""
_MOST_BYTES = 16 * 1024 * 1024
"""That one piece may become; deflate makes at most 1032 bytes of one."""
DECODED = frozenset((b"gzip", b"x-gzip", b"deflate"))
"""Values of Content-Encoding (RFC 9110, 8.4.1)."""


class Decoder:
    """Of one body, piece by piece: what an event stream has sent by now is there at once."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(_GZIP_OR_ZLIB)
        self._began = False

    def feed(self, data: bytes) -> bytes:
        """Return what it says. h11.RemoteProtocolError when it is no such body, or becomes too much."""
        plain = bytearray()
        while data:
            if self._inflate.eof:  # of several members (RFC 1952, 2.2)
                self._inflate = zlib.decompressobj(_GZIP_OR_ZLIB)
            self._began = True
            try:
                plain += self._inflate.decompress(data, _MOST_BYTES - len(plain) + 1)
            except zlib.error as error:
                raise h11.RemoteProtocolError(f"its body is not compressed as its head says: {error}") from error
            if len(plain) > _MOST_BYTES:
                raise h11.RemoteProtocolError(f"{len(data)} bytes of its body become more than {_MOST_BYTES}")
            data = self._inflate.unused_data
        return bytes(plain)

    def end(self) -> None:
        """Raise h11.RemoteProtocolError when the body is not whole."""
        if self._began and not self._inflate.eof:
            raise h11.RemoteProtocolError("its compressed body is cut")
