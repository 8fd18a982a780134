"""Names repositories at a forge: `team/shop`, `team/*`, `team/web-*`."""

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase

_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,98}/[A-Za-z0-9._*-]{1,100}")


def parse_repository_pattern(text: str) -> str:
    """Return it in lower case, as forges compare names. ValueError; the owner is always named whole."""
    pattern = text.strip().lower()
    if not _PATTERN.fullmatch(pattern):
        raise ValueError(f'{text!r} must be an owner and a name, such as "team/shop", "team/web-*" or "team/*"')
    return pattern


def is_named_by(name: str, patterns: Sequence[str] | None) -> bool:
    """Whether one of these names the repository `owner/name`; None names every one."""
    return patterns is None or any(fnmatchcase(name.lower(), pattern) for pattern in patterns)
