"""Counts wrong tokens by the address that they came from."""

from limits import parse
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter
from starlette.requests import HTTPConnection

from cloister.errors import TooManyFailuresError

MOST_FAILURES = "20/minute"
"""From one address. A right token is let in all the same, so that nobody locks out those behind the same address."""


class Failures:
    """Those of a server."""

    def __init__(self) -> None:
        self._limiter = FixedWindowRateLimiter(MemoryStorage())
        self._most = parse(MOST_FAILURES)

    def count(self, connection: HTTPConnection) -> None:
        """Count one. TooManyFailuresError when it is one too many."""
        if not self._limiter.hit(self._most, address_of(connection)):
            raise TooManyFailuresError("too many wrong tokens came from your address; wait a minute")


def address_of(connection: HTTPConnection) -> str:
    """Return from where a request comes; nothing for the socket of the state directory."""
    return connection.client.host if connection.client else ""
