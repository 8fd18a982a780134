"""Where the files of a package index lie, which may be another host than the index: the index itself is asked."""

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

import anyio
import anyio.to_thread

_ANSWER_SECONDS = 3.0
"""Tasks wait for the first answers of a node."""
_LONGEST_PAGE_BYTES = 8 * 1024 * 1024
_MOST_ADDRESSES = 2000


class PackageIndexError(Exception):
    """An index does not say where its files are; the message says why."""


async def files_of_simple_index(index: str) -> list[str]:
    """Return addresses of files of a Python index: those of pip, which every index has (PEP 503). PackageIndexError."""
    return await _ask(f"{index.rstrip('/')}/pip/", "text/html", _links)


async def files_of_npm_registry(registry: str) -> list[str]:
    """Return the address of the archive of npm, which every registry has. PackageIndexError."""
    return await _ask(f"{registry.rstrip('/')}/npm/latest", "application/json", _tarball)


async def _ask(address: str, kind: str, read: Callable[[str, bytes], list[str]]) -> list[str]:
    if not address.startswith(("http://", "https://")):
        return []
    try:
        request, shown = _request(address, kind)
        with anyio.fail_after(_ANSWER_SECONDS):
            page = await anyio.to_thread.run_sync(_fetch, request, abandon_on_cancel=True)
        return read(shown, page)[:_MOST_ADDRESSES]
    except (OSError, ValueError, TimeoutError, KeyError, TypeError) as error:
        raise PackageIndexError(f"{urlsplit(address).hostname}: {type(error).__name__}") from error


def _request(address: str, kind: str) -> tuple[urllib.request.Request, str]:
    """Return the request, and the address without a user and password, which go into a header."""
    parts = urlsplit(address)
    user, at, host = parts.netloc.rpartition("@")
    headers = {"Accept": kind, "User-Agent": "cloister"}
    if at:
        headers["Authorization"] = f"Basic {base64.b64encode(unquote(user).encode()).decode()}"
    shown = urlunsplit(parts._replace(netloc=host))
    return urllib.request.Request(shown, headers=headers), shown


def _fetch(request: urllib.request.Request) -> bytes:
    """Fetch as the host's clients do, through a proxy of the environment where there is one."""
    try:
        with urllib.request.urlopen(request, timeout=_ANSWER_SECONDS) as answer:
            page: bytes = answer.read(_LONGEST_PAGE_BYTES)
    except urllib.error.HTTPError as error:
        error.close()  # it holds the connection
        raise
    return page


def _links(base: str, page: bytes) -> list[str]:
    links = _Links()
    links.feed(page.decode(errors="replace"))
    return [urljoin(base, link) for link in links.found]


def _tarball(base: str, page: bytes) -> list[str]:
    return [urljoin(base, str(json.loads(page)["dist"]["tarball"]))]


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.found += _hrefs(attrs)


def _hrefs(attributes: list[tuple[str, str | None]]) -> Iterator[str]:
    return (value for name, value in attributes if name == "href" and value)
