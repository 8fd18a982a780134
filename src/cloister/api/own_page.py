"""Whether a change that a browser asks for was asked for by a page of ours (CSRF).

Two things have to be so. What the browser itself says of where a request comes from, in `Sec-Fetch-Site` or `Origin`,
which no script can write, has to name this very origin. And the request has to hold the key of its session's pages: in
the header `X-Cloister-Page-Key`, or in a form in the field `page_key`: anywhere in one that is
`application/x-www-form-urlencoded`, and in one that is `multipart/form-data` as its first part, so that nothing of the
files behind it is read before.
"""

import hmac
import re
from urllib.parse import parse_qsl

from python_multipart.multipart import parse_options_header
from starlette.requests import HTTPConnection
from starlette.types import Message, Receive

from cloister.errors import DeniedError

KEY_HEADER = "X-Cloister-Page-Key"
KEY_FIELD = "page_key"

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_FORM = "application/x-www-form-urlencoded"
_MOST_FORM_BYTES = 8 * 1024 * 1024
_MOST_FIELDS = 1000
_MULTIPART = b"multipart/form-data"
_FIRST_PART_BYTES = 1024
"""No key's part is longer, with a boundary of 70 characters (RFC 2046, 5.1.1) before and behind it."""

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
    content_type = connection.headers.get("content-type", "")
    kind, options = parse_options_header(content_type)
    if kind == _MULTIPART:
        messages, body = await _read(receive, enough=_FIRST_PART_BYTES)
        _compare(_first_field(body, options.get(b"boundary", b"")), key)
        return _replay(messages, receive)
    if content_type.partition(";")[0].strip().lower() != _FORM:
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


def _first_field(body: bytes, boundary: bytes) -> str:
    """Return the value of a form's first part, if that is the key's: as browsers write it (RFC 7578), and no other."""
    line = rb"--" + re.escape(boundary)
    disposition = rb'content-disposition: form-data; name="%s"' % re.escape(KEY_FIELD.encode())
    found = re.match(rb"%s\r\n(?i:%s)\r\n\r\n([^\r\n]*)\r\n%s" % (line, disposition, line), body)
    return found[1].decode("latin-1") if found and boundary else ""


async def _read(receive: Receive, *, enough: int | None = None) -> tuple[list[Message], bytes]:
    """Read a body to its end, or until that many bytes are there."""
    messages, body = [], b""
    while True:
        message = await receive()
        messages.append(message)
        body += message.get("body", b"")
        if len(body) > _MOST_FORM_BYTES:
            raise DeniedError(f"a form has at most {_MOST_FORM_BYTES // 1024**2} MiB", hint=f"send {KEY_HEADER}")
        if not message.get("more_body") or (enough is not None and len(body) >= enough):
            return messages, body


def _replay(messages: list[Message], receive: Receive) -> Receive:
    async def again() -> Message:
        return messages.pop(0) if messages else await receive()

    return again
