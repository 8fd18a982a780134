"""The cookie of a session.

Over HTTPS its name begins with `__Host-`, so that browsers take it only from this very host, for all of its paths, and
never over plain HTTP (RFC 6265bis, 4.1.3): neither a sub-domain nor somebody on the network can put one of their own in
its place. It is HttpOnly, and Lax: a link from elsewhere opens a page, a form or script of elsewhere sends nothing.
"""

from starlette.requests import HTTPConnection
from starlette.responses import Response

from cloister.access import Access
from cloister.errors import UnauthenticatedError

_NAME = "cloister"


def is_secure(connection: HTTPConnection, access: Access) -> bool:
    """Whether the browser is on HTTPS, as far as we can know."""
    return connection.url.scheme == "https" or (access.public_url or "").startswith("https:")


def borne_session(connection: HTTPConnection, access: Access) -> str | None:
    """Return the text of the session that a request bears; None when it bears none.

    UnauthenticatedError when it bears two: one of them was put there by somebody else, for a part of the paths or for
    all hosts of a domain, and nobody knows which.
    """
    return borne_cookie(connection, access, _NAME)


def borne_cookie(connection: HTTPConnection, access: Access, name: str) -> str | None:
    """Return the value of a cookie that `set_cookie` set; None when there is none. UnauthenticatedError as above."""
    name = _full_name(name, secure=is_secure(connection, access))
    found = [value for key, value in _cookies(connection) if key == name]
    if len(found) > 1:
        raise UnauthenticatedError("two sessions came at once", hint="delete this site's cookies, and log in again")
    return found[0] if found else None


def set_session(response: Response, text: str, *, secure: bool, seconds: float) -> None:
    """Let the browser bear it from now on."""
    set_cookie(response, _NAME, text, secure=secure, seconds=seconds)


def set_cookie(response: Response, name: str, value: str, *, secure: bool, seconds: float) -> None:
    """Let the browser bear a cookie of ours for so long."""
    response.set_cookie(
        _full_name(name, secure=secure),
        value,
        max_age=int(seconds),
        path="/",
        secure=secure,
        httponly=True,
        samesite="lax",
    )
    response.headers["Cache-Control"] = "no-store"


def forget_session(response: Response, *, secure: bool) -> None:
    """Let the browser bear none any more."""
    set_session(response, "", secure=secure, seconds=0)


def _full_name(name: str, *, secure: bool) -> str:
    return f"__Host-{name}" if secure else name


def _cookies(connection: HTTPConnection) -> list[tuple[str, str]]:
    pairs = [pair for header in connection.headers.getlist("cookie") for pair in header.split(";")]
    return [(name.strip(), value.strip().strip('"')) for name, _, value in (pair.partition("=") for pair in pairs)]
