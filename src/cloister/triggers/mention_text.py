"""Finds `@NAME ...` in what somebody wrote: said, and not quoted or shown as code."""

import re
from collections.abc import Iterator

from markdown_it import MarkdownIt
from markdown_it.token import Token

_CODE = re.compile(
    r"(?<!`)(?P<ticks>`+)(?!`).*?(?<!`)(?P=ticks)(?!`)|<!--.*?(?:-->|$)|<(code|pre)\b.*?(?:</\2>|$)", re.DOTALL
)
_HIDDEN = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_SURROUND = " \t\r\n,:;-"


def may_mention(body: str, name: str) -> bool:
    """Whether it is worth a closer look; what a stranger wrote gets none, since text can be made to take long."""
    return _pattern(name).search(body) is not None


def find_mention(body: str, name: str) -> str | None:
    """Return what is said to `name`: all behind the first mention, without hidden comments; None when there is none.

    Nobody is mentioned in a quotation, in code, in a link's address or in an HTML comment, as GitHub sees it too.
    """
    pattern = _pattern(name)
    if pattern.search(body) is None:
        return None
    text = body.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "\N{REPLACEMENT CHARACTER}")
    lines = text.split("\n")
    for token in _said(MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)):
        assert token.map is not None, "what is said has lines"
        begin, end = token.map
        own = "\n".join(lines[begin:end])
        match = pattern.search(_CODE.sub(lambda code: " " * len(code[0]), own))
        if match is not None:
            rest = "\n".join([own[match.end() :], *lines[end:]])
            return _HIDDEN.sub("", rest).strip(_SURROUND)
    return None


def _pattern(name: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w`/@.+-])@{re.escape(name)}(?:\[bot\])?(?![\w/-]|\.\w)", re.IGNORECASE)


def _said(tokens: list[Token]) -> Iterator[Token]:
    """Return the pieces of text outside quotations."""
    depth = 0
    for token in tokens:
        if token.type == "blockquote_open":
            depth += 1
        elif token.type == "blockquote_close":
            depth -= 1
        elif token.type == "inline" and depth == 0:
            yield token
