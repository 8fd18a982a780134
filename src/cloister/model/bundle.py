"""Repositories that callers from elsewhere sent as git bundles: each is one caller's, by a name of theirs."""

import hashlib
import re
from datetime import timedelta

SCHEME = "bundle:"
LARGEST_BYTES = 2 * 1024**3
"""Of one bundle."""
MOST_SENT_BYTES = 10 * 1024**3
"""Of all repositories that one caller has sent, as they are kept."""
KEPT_UNUSED = timedelta(days=30)
"""How long one is kept that nobody sends again and no attempt begins with; longer while a task of it is not over."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")
_ADDRESS = re.compile(rf"{SCHEME}[0-9a-f]{{16}}/({_NAME.pattern})")


def own_bundles(caller: str) -> str:
    """Return what the addresses of a caller's bundles begin with."""
    return f"{SCHEME}{hashlib.sha256(caller.encode()).hexdigest()[:16]}/"


def sender_of(address: str) -> str:
    """Return what the addresses of all bundles of its sender begin with."""
    return address.rpartition("/")[0] + "/"


def is_bundle_name(name: str) -> bool:
    """Whether it can be the name of one; it names a folder too."""
    return _NAME.fullmatch(name) is not None and not name.endswith((".", ".git", ".lock"))


def is_bundle(address: str) -> bool:
    """Whether the address is one of a bundle, or is meant to be."""
    return address[: len(SCHEME)].lower() == SCHEME


def name_in(address: str) -> str | None:
    """Return the name in an address; None when it is not one of a bundle."""
    found = _ADDRESS.fullmatch(address)
    return found[1] if found and is_bundle_name(found[1]) else None
