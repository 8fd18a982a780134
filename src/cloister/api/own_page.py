"""Whether a change that a browser asks for was asked for by a page of ours (CSRF).

Two things have to be so. What the browser itself says of where a request comes from, in `Sec-Fetch-Site` or `Origin`,
which no script can write, has to name this very origin. And the request has to hold the key of its session's pages: in
the header `X-Cloister-Page-Key`, or in a form (`application/x-www-form-urlencoded`) in the field `page_key`.
"""

import hmac
from urllib.parse import parse_qsl

from starlette.requests import HTTPConnection
from starlette.types import Message, Receive

from cloister.errors import DeniedError

KEY_HEADER = "X-Cloister-Page-Key"
KEY_FIELD = "page_key"

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_FORM = "application/x-www-form-urlencoded"
_MOST_FORM_BYTES = 8 * 1024 * 1024
_MOST_FIELDS = 1000

_ELSEWHERE = "this was not asked for by a page of this server"


def check_origin(connection: HTTPConnection, public_url: str | None) -> None:
    """Raise DeniedError unless the browser says that a page of this origin sends this."""
    site, origin = connection.headers.get("sec-fetch-site"), connection.headers.get("origin")
    ours = {f"{connection.url.scheme}://{connection.headers.get('host', '')}".lower(), public_url}
    from_here = site == "same-origin" or (site is None and origin is not None)
    # A page that tells nobody where it is sends the origin `null`; that it is ours, Sec-Fetch-Site has said then.
    at_home = origin is None or origin.lower() in ours or (origin == "null" and site == "same-origin")
    if not (from_here and at_home):
        raise DeniedError(_ELSEWHERE, hint="behind a proxy of your own, set public_url")


def check_reader(connection: HTTPConnection) -> None:
    """Raise DeniedError for what a page of elsewhere loads, streams too, unless somebody follows a link to us.

    It could not read the answer, but could learn from its time or size what somebody sees here.
    """
    headers = connection.headers
    is_link = (headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")) == ("navigate", "document")
    if headers.get("sec-fetch-site") in ("cross-site", "same-site") and not is_link:
        raise DeniedError(_ELSEWHERE)


async def check_page_key(connection: HTTPConnection, key: str, receive: Receive) -> Receive:
    """Raise DeniedError unless the request holds the key; return what it is read with from now on."""
    if (given := connection.headers.get(KEY_HEADER)) is not None:
        _compare(given, key)
        return receive
    if connection.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        raise DeniedError(_ELSEWHERE, hint=f"send the page's key in {KEY_HEADER}")
    messages, body = await _read(receive)
    _compare(_field(body), key)
    return _replay(messages, receive)


def _compare(given: str, key: str) -> None:
    if not hmac.compare_digest(given.encode(errors="surrogatepass"), key.encode()):
        raise DeniedError(_ELSEWHERE, hint="load the page again")


def _field(body: bytes) -> str:
    try:
        fields = parse_qsl(body.decode("latin-1"), max_num_fields=_MOST_FIELDS)
    except ValueError:
        return ""
    return next((value for name, value in fields if name == KEY_FIELD), "")


async def _read(receive: Receive) -> tuple[list[Message], bytes]:
    messages, body = [], b""
    while True:
        message = await receive()
        messages.append(message)
        body += message.get("body", b"")
        if len(body) > _MOST_FORM_BYTES:
            raise DeniedError(f"a form has at most {_MOST_FORM_BYTES // 1024**2} MiB", hint=f"send {KEY_HEADER}")
        if not message.get("more_body"):
            return messages, body


def _replay(messages: list[Message], receive: Receive) -> Receive:
    async def again() -> Message:
        return messages.pop(0) if messages else await receive()

    return again
