"""Writes TOML with comments (toml.io, 1.0.0), from text that may be a stranger's."""

import textwrap

_WIDTH = 100
_NAMED = {"\\": "\\\\", '"': '\\"', "\t": "\\t", "\n": "\\n", "\r": "\\r"}


def comment(text: str, *, first: str = "", then: str = "") -> str:
    """Return a comment of as many lines as it needs. `text` has no control characters."""
    lines = textwrap.wrap(
        text, _WIDTH, initial_indent=first, subsequent_indent=then, break_long_words=False, break_on_hyphens=False
    )
    return "\n".join(f"# {line}".rstrip() for line in lines or [first])


def string(text: str) -> str:
    """Return a string of one line, or of several when the text has more.

    What cannot be seen is escaped, so that a reader sees what a shell will.
    """
    if "\n" not in text:
        return f'"{"".join(_NAMED.get(character) or _escaped(character) for character in text)}"'
    if "'''" not in text and text.endswith("\n") and all(_is_seen(character) for character in text):
        return f"'''\n{text}'''"
    written = "".join(character if character in "\n\t" else _escaped(character) for character in _doubled(text))
    return f'"""\n{written.replace(_QUOTES, _ESCAPED_QUOTES)}{_ENDING if text.endswith(_QUOTE) else ""}"""'


_QUOTE = '"'
_QUOTES, _ESCAPED_QUOTES = '"""', '""\\"'
_ENDING = "\\\n"
"""A line ended by a backslash: the next line's quotes are not a part of what ends with one."""


def _doubled(text: str) -> str:
    return text.replace("\\", "\\\\")


def _is_seen(character: str) -> bool:
    return character in "\n\t" or character.isprintable()


def _escaped(character: str) -> str:
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
