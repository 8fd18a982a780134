"""Knows callers from elsewhere: by their tokens, and browsers by their sessions."""

from starlette.requests import HTTPConnection

from cloister.access import Access
from cloister.api.caller import Caller
from cloister.api.cookie import borne_session
from cloister.api.failures import Failures
from cloister.errors import UnauthenticatedError
from cloister.model.session import page_key_of

_SCHEME = "bearer"


class Guard:
    """An `Authenticate` for requests from elsewhere."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self.failures = Failures()

    async def __call__(self, connection: HTTPConnection) -> Caller:
        """Return whose token the request bears, or else whose session. UnauthenticatedError, TooManyFailuresError.

        A request with a token is never let in by its cookie: whoever sends a header means it.
        """
        if "authorization" in connection.headers:
            return await self._by_token(connection)
        text = borne_session(connection, self._access)
        if text is None:
            raise UnauthenticatedError("a token is needed", hint="send it as: Authorization: Bearer TOKEN")
        return await self._by_session(text)

    async def _by_token(self, connection: HTTPConnection) -> Caller:
        try:
            token = await self._access.tokens.authenticate(_borne(connection))
        except UnauthenticatedError:
            self.failures.count(connection)
            raise
        return Caller(name=token.name, role=token.role, by=f"token {token.id}")

    async def _by_session(self, text: str) -> Caller:
        known = await self._access.sessions.authenticate(text)
        return Caller(
            name=known.name,
            role=known.role,
            by=f"session {known.session.id}",
            session=known.session.id,
            page_key=page_key_of(text),
        )


def _borne(connection: HTTPConnection) -> str:
    """Return the token (RFC 6750, 2.1); of what looks like a JWT (as `codex` wants its tokens), it is the last part."""
    scheme, _, text = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() != _SCHEME or not text.strip():
        raise UnauthenticatedError("a token is needed", hint="send it as: Authorization: Bearer TOKEN")
    return text.strip().rpartition(".")[2]
