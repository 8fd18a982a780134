"""What a diff as git writes it says of paths."""

import re

_HEADER = re.compile(rb"^diff --git (.+)$", re.MULTILINE)
"""No line of a hunk looks like one: it begins with a blank, a sign or a backslash, and binary data has no blanks."""


def changed_paths(diff: bytes) -> list[str]:
    """Return the paths that a diff without renames changes, in its order.

    Those with characters that git quotes are as it quotes them; other bytes that are no UTF-8 are lone surrogates.
    """
    return [_path_of(header).decode(errors="surrogateescape") for header in _HEADER.findall(diff)]


def _path_of(header: bytes) -> bytes:
    """Of `a/PATH b/PATH`: both halves are alike, whatever blanks the path has."""
    half = header[len(header) // 2 + 1 :]
    return half.replace(b'"b/', b'"', 1) if half.startswith(b'"') else half.removeprefix(b"b/")
