"""Which addresses are repositories of one GitHub, and what it calls them."""

import re
from urllib.parse import unquote, urlsplit

from cloister.model.ssh_address import parse_ssh_address

_OWNER = r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,98})"
_NAME = r"[A-Za-z0-9._-]{1,100}?"
_PATH = re.compile(rf"/?({_OWNER})/({_NAME})(?:\.git)?/?")


def api_of(url: str) -> str:
    """Return where the API of a GitHub is; see `Getting started with the REST API` in GitHub's documentation."""
    return "https://api.github.com" if url == "https://github.com" else f"{url}/api/v3"


def graphql_of(url: str) -> str:
    """Return where the other API of a GitHub is; see `Forming calls with GraphQL` in GitHub's documentation."""
    return "https://api.github.com/graphql" if url == "https://github.com" else f"{url}/api/graphql"


def name_at(url: str, address: str) -> str | None:
    """Return `owner/name` of a repository at the GitHub at `url`; None for an address that is elsewhere.

    Of an address behind ssh, the host's name alone tells.
    """
    try:
        ssh = parse_ssh_address(address)
    except ValueError:
        return None
    if ssh is not None:
        return _name(unquote(ssh.path)) if ssh.host.lower() == urlsplit(url).hostname else None
    origin, found = urlsplit(url), urlsplit(address)
    if (found.scheme, found.netloc.lower()) != (origin.scheme, origin.netloc) or found.query or found.fragment:
        return None
    return _name(found.path)


def _name(path: str) -> str | None:
    match = _PATH.fullmatch(path)
    return None if match is None or match[2] in (".", "..") else f"{match[1]}/{match[2]}"
