"""Whether somebody looks at the answer to a request: then it is a page, also when something went wrong."""

from starlette.requests import HTTPConnection

_PROGRAMS = ("/api/", "/wham/", "/mcp")
"""Where programs call, which want an error and no page."""


def wants_page(connection: HTTPConnection) -> bool:
    """Whether a browser asks for a page."""
    is_page = connection.scope["method"] == "GET" and "text/html" in connection.headers.get("accept", "")
    return is_page and not connection.scope["path"].startswith(_PROGRAMS)
