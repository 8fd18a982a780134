"""Reads TOML that strangers wrote, within bounds."""

import re
import tomllib
from typing import Any

_MOST_PARTS = 100
_LONG_KEY = re.compile(
    rf"""(?<![\w-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){{{_MOST_PARTS}}}""",
    re.ASCII,
)
"""A dotted key takes tomllib time in the square of its parts, minutes for one as long as a document may be."""


def load_toml(text: str) -> dict[str, Any]:
    """Return the document. ValueError when it is none or goes past a bound; a TOMLDecodeError names the place."""
    if _LONG_KEY.search(text):
        raise ValueError(f"has a name of more than {_MOST_PARTS} parts")
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise ValueError("is nested too deeply") from error
    except tomllib.TOMLDecodeError:
        raise
    except ValueError as error:  # Python converts no number of more than 4300 digits
        raise ValueError("holds a number that is too long") from error
