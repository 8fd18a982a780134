"""Knows callers by their tokens."""

from limits import parse
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter
from starlette.requests import HTTPConnection

from cloister.api.caller import Caller
from cloister.errors import TooManyFailuresError, UnauthenticatedError
from cloister.tokens import Tokens

MOST_FAILURES = "20/minute"
"""From one address. A right token is let in all the same, so that nobody locks out those behind the same address."""

_SCHEME = "bearer"


class TokenGuard:
    """An `Authenticate` for requests from elsewhere."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._failures = FixedWindowRateLimiter(MemoryStorage())
        self._most = parse(MOST_FAILURES)

    async def __call__(self, connection: HTTPConnection) -> Caller:
        """Return whose token the request bears (RFC 6750, 2.1). UnauthenticatedError, TooManyFailuresError."""
        try:
            token = await self._tokens.authenticate(_borne(connection))
        except UnauthenticatedError:
            address = connection.client.host if connection.client else ""
            if not self._failures.hit(self._most, address):
                raise TooManyFailuresError("too many wrong tokens came from your address; wait a minute") from None
            raise
        return Caller(name=token.name, role=token.role)


def _borne(connection: HTTPConnection) -> str:
    """Return the token; of what looks like a JWT (as `codex` wants its tokens), it is the last part."""
    scheme, _, text = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() != _SCHEME or not text.strip():
        raise UnauthenticatedError("a token is needed", hint="send it as: Authorization: Bearer TOKEN")
    return text.strip().rpartition(".")[2]
