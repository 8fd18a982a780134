"""Reads the address of a repository: which forms there are, and which are refused."""

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote, urlsplit

from cloister.errors import UsageError
from cloister.model.bundle import is_bundle, name_in
from cloister.model.ssh_address import parse_ssh_address

if TYPE_CHECKING:
    from cloister.model.task import Repository

SCHEMES = ("file", "http", "https")

_LONGEST_ADDRESS = 2048
_UNPRINTABLE = re.compile(r"[\x00-\x20\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_UNPRINTABLE_IN_PATH = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_OUTSIDE_NAME = re.compile(r"[^A-Za-z0-9._-]+")


def parse_repository(address: str, *, guarded: bool = False) -> "Repository":
    """Return the repository at an absolute path, at a file, http or https URL, or behind ssh in both of git's forms.

    Everything else that git understands as an address is refused: `ext::` runs programs, and a
    leading dash is read as an option (CVE-2017-1000117). Credentials have no place in an address,
    because it is shown, kept, and given to the sandbox as `origin`; the user's name of ssh is none.
    One that is `guarded` was named by a caller from elsewhere.

    Raises UsageError.
    """
    from cloister.model.task import Repository

    if not address or len(address) > _LONGEST_ADDRESS:
        raise UsageError(f"a repository's address has 1 to {_LONGEST_ADDRESS} characters")
    if address.startswith("/"):
        return _local(address)
    if is_bundle(address):
        return _bundle(address)
    if _UNPRINTABLE.search(address):
        raise UsageError(f"the repository's address {address!r} holds a space or a control character")
    try:
        if ssh := parse_ssh_address(address):
            return Repository(address=address.rstrip("/"), directory=_directory(unquote(ssh.path)), guarded=guarded)
        url = urlsplit(address)
        _check_url(url)
    except ValueError as error:
        raise UsageError(
            f"the repository's address {_without_credentials(address)!r} cannot be read: {error}"
        ) from error
    return Repository(address=address.rstrip("/"), directory=_directory(unquote(url.path)), guarded=guarded)


def is_path(address: str) -> bool:
    """Whether the address is a place on this very machine."""
    return address.startswith("/") or address[:5].lower() == "file:"


def _bundle(address: str) -> "Repository":
    from cloister.model.task import Repository

    name = name_in(address)
    if name is None:
        raise UsageError(f"{address!r} is not the address of a repository that was sent as a bundle")
    return Repository(address=address, directory=_directory(name))


def _local(path: str) -> "Repository":
    from cloister.model.task import Repository

    if _UNPRINTABLE_IN_PATH.search(path):
        raise UsageError(f"the repository's path {path!r} holds a control character")
    normal = str(PurePosixPath(path))
    return Repository(address=normal, directory=_directory(normal))


def _check_url(url: SplitResult) -> None:
    if url.scheme not in SCHEMES:
        raise ValueError("give an absolute path, a file, http, https or ssh URL, or user@host:path")
    if "@" in url.netloc:
        raise ValueError("it must not hold a user name, password or token")
    if url.query or url.fragment:
        raise ValueError("it must not hold a query or a fragment")
    if url.scheme == "file" and (url.netloc not in ("", "localhost") or not url.path.startswith("/")):
        raise ValueError("a file URL has the form file:///absolute/path")
    if url.scheme != "file" and (not url.hostname or url.hostname.startswith("-")):
        raise ValueError("it names no host")
    if url.port == 0:
        raise ValueError("a port is 1 to 65535")


def _without_credentials(address: str) -> str:
    return re.sub(r"//[^/]*@", "//...@", address)


def _directory(path: str) -> str:
    """Name the work tree's folder as `git clone` would, in characters that need no quoting anywhere."""
    name = PurePosixPath(path).name
    if name == ".git":
        name = PurePosixPath(path).parent.name
    name = _OUTSIDE_NAME.sub("-", name.removesuffix(".git")).strip(".-")
    return name[:100] or "repository"
