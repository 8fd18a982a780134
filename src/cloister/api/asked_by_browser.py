"""Whether somebody looks at the answer to a request: then it is a page, also when something went wrong."""

from starlette.requests import HTTPConnection

_PROGRAMS = ("/api/", "/wham/", "/mcp")
"""Where programs call, which want an error and no page."""


def wants_page(connection: HTTPConnection) -> bool:
    """Whether a browser asks for a page."""
    return connection.scope["method"] == "GET" and _shows_answer(connection)


def sends_form(connection: HTTPConnection) -> bool:
    """Whether a browser sends a form, and shows what comes back."""
    return connection.scope["method"] == "POST" and _shows_answer(connection)


def _shows_answer(connection: HTTPConnection) -> bool:
    is_shown = "text/html" in connection.headers.get("accept", "")
    return is_shown and not connection.scope["path"].startswith(_PROGRAMS)
