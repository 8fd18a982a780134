"""The forms in which a value may be printed or written: itself, and what common tools make of it."""

import base64
import html
import json
import re
import shlex
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

from cloister.model.secret import SHORTEST_SECRET

_WRAPPED_AT = (64, 76)
"""Characters to a line: PEM (RFC 7468) and MIME, which is also what `base64` prints."""

_NOT_PLAIN_IN_SHELL = re.compile(r"([^A-Za-z0-9_%+,./:=@^-])")


def forms_of(value: str) -> set[bytes]:
    """Return every form of the value and, where it has several lines, of each line that is long enough."""
    lines = [line.strip() for line in value.splitlines()]
    texts = [value, value.strip(), *(line for line in lines if len(line) >= SHORTEST_SECRET)]
    return {form for text in texts for form in _forms(text) if len(form) >= SHORTEST_SECRET}


def _forms(text: str) -> Iterator[bytes]:
    raw = text.encode()
    yield raw
    yield raw.replace(b"\n", b"\r\n")  # what a terminal makes of it
    yield from _base64_forms(raw)
    yield raw.hex().encode()
    yield raw.hex().upper().encode()
    for form in (
        *_url_forms(text),
        *_json_forms(text),
        *_shell_forms(text),
        html.escape(text),
        html.escape(text, False),
    ):
        yield form.encode()


def _base64_forms(raw: bytes) -> Iterator[bytes]:
    whole = base64.b64encode(raw).rstrip(b"=")
    yield from _both_alphabets(whole)
    yield from (b"\n".join(_cut(whole, width)) for width in _WRAPPED_AT)
    for before in range(3):
        yield from _both_alphabets(_base64_inside(raw, before))


def _base64_inside(raw: bytes, before: int) -> bytes:
    """The characters that encode nothing but `raw` when `before` (modulo 3) other bytes come before it."""
    encoded = base64.b64encode(b"\0" * before + raw)
    first = -(-8 * before // 6)
    return encoded[first : 8 * (before + len(raw)) // 6]


def _both_alphabets(encoded: bytes) -> tuple[bytes, bytes]:
    return encoded, encoded.translate(bytes.maketrans(b"+/", b"-_"))


def _cut(data: bytes, width: int) -> list[bytes]:
    return [data[at : at + width] for at in range(0, len(data), width)]


def _url_forms(text: str) -> Iterator[str]:
    for quoted in (quote(text, safe=""), quote(text), quote_plus(text), quote(text, safe="!'()*")):
        yield quoted
        yield re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), quoted)


def _json_forms(text: str) -> Iterator[str]:
    for escaped in (json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]):
        yield escaped
        yield escaped.replace("/", "\\/")


def _shell_forms(text: str) -> Iterator[str]:
    yield shlex.quote(text).removeprefix("'").removesuffix("'")
    yield text.replace("'", "'\\''")
    yield _NOT_PLAIN_IN_SHELL.sub(r"\\\1", text)
    yield text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\t", "\\t")
    yield re.sub(r'([\\"$`])', r"\\\1", text)
