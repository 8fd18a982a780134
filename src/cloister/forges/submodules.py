"""Submodules of a commit: which there are, where they may come from, and their trees in the mirror.

`.gitmodules` is whoever's who wrote the commit. So only https addresses are followed, of the repository's own server
and of the forge of the settings; names and paths are of few characters; and Cloister's login is used only for what the
default branch names too, or else a branch of a stranger would bring a private repository into its sandbox. A commit
that no person of the repository stands for brings nothing but that: whatever is fetched stays on this machine.
"""

import re
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from posixpath import normpath
from secrets import token_hex
from tempfile import TemporaryDirectory
from typing import BinaryIO
from urllib.parse import urlsplit

from cloister.errors import CloisterError, RepositoryError, UsageError
from cloister.git import run_git
from cloister.model.sandbox import Commit
from cloister.model.ssh_address import parse_ssh_address
from cloister.model.submodule import Submodules
from cloister.model.task import Repository

LISTS = "cloister-submodules-1"
MOST = 64
"""Of one commit, with those inside of others, and with those that cannot be had."""
DEEPEST = 3
LARGEST_BYTES = 1024**3
"""Of the tree of one of them, packed."""
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,99}(?:/[A-Za-z0-9_.][A-Za-z0-9._+-]{0,99}){0,15}")
_PATH = re.compile(r"(?:/[A-Za-z0-9_.][A-Za-z0-9._~+-]{0,199}){1,10}/?")

Fetch = Callable[[Repository, Commit, bool], Awaitable[Path]]
"""From a repository, a commit and whether to log in to a mirror that has it."""
IsForeign = Callable[[], Awaitable[bool]]
"""Whether a commit is of a fork's, or an agent's, and no person has merged it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origins:
    """Where submodules may come from."""

    parent: str
    """Address of the repository itself, to which others are relative; its server is one of these."""
    guarded: bool
    """Whether it may be on public servers alone, as every other one."""
    is_allowed: Callable[[str], bool]
    """Whether an address is at the forge of the settings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A submodule as a commit has it."""

    path: str
    commit: Commit
    url: str


async def fetch_submodules(
    mirror: Path, commit: Commit, default_commit: Commit | None, origins: Origins, fetch: Fetch, is_foreign: IsForeign
) -> Submodules:
    """Bring the trees of a commit's submodules into its mirror. What cannot be had is said, and stays empty."""
    if _whole(mirror, commit).exists():
        return Submodules(there=(mirror / LISTS / commit).read_bytes().count(b"\0"))
    known = {it.url for it in await read_submodules(mirror, default_commit, origins, [])} if default_commit else set()
    search = _Search(mirror, known, fetch, is_foreign)
    await search.take(mirror, commit, origins, "", 1)
    _keep(mirror, commit, search.found)
    if not search.left:
        _whole(mirror, commit).touch()
    return Submodules(there=len(search.found), left=tuple(_shown(search.left)))


class _Search:
    def __init__(self, mirror: Path, known: Collection[str], fetch: Fetch, is_foreign: IsForeign) -> None:
        self.found: list[tuple[str, str]] = []
        """Tree and path."""
        self.left: list[str] = []
        self._mirror = mirror
        self._known = known
        self._fetch = fetch
        self._is_foreign = is_foreign
        self._tried = 0

    async def take(self, mirror: Path, commit: Commit, origins: Origins, above: str, depth: int) -> None:
        """Take those of a commit in a mirror, and those inside of them."""
        refused: list[str] = []
        named = await read_submodules(mirror, commit, origins, refused)
        self.left += [f"{above}{it}" for it in refused]
        for it in named:
            path = f"{above}{it.path}"
            if depth > DEEPEST or self._tried >= MOST:
                self.left.append(f"{path}: there are more than {MOST}, or they are deeper than {DEEPEST}")
                continue
            self._tried += 1
            try:
                inside = await self._take_one(it, path, origins)
            except CloisterError as error:
                self.left.append(f"{path}: {error}")
                continue
            within = replace(origins, parent=it.url)
            await self.take(inside, it.commit, within, f"{path}/", depth + 1)

    async def _take_one(self, it: Named, path: str, origins: Origins) -> Path:
        if it.url not in self._known and await self._is_foreign():
            raise UsageError("the default branch does not name it, and no person has merged this commit")
        guarded = origins.guarded or not is_beside(it.url, origins.parent)
        repository = Repository(address=it.url, directory="submodule", guarded=guarded)
        inside = await self._fetch(repository, it.commit, it.url in self._known)
        said = await run_git(["rev-parse", "--verify", f"{it.commit}^{{tree}}"], git_dir=inside)
        tree = said.stdout.decode().strip()
        await _bring(inside, tree, self._mirror)
        self.found.append((tree, path))
        return inside


async def read_submodules(mirror: Path, commit: Commit, origins: Origins, refused: list[str]) -> Sequence[Named]:
    """Return those that may be fetched, and say in `refused` what keeps the others from it."""
    listing = await run_git(["ls-tree", "-r", "-z", "--full-tree", commit], git_dir=mirror)
    links = {}
    for record in listing.stdout.split(b"\0")[:-1]:
        entry, _, name = record.partition(b"\t")
        if entry.startswith(b"160000"):
            links[name.decode(errors="replace")] = Commit(entry.decode().split(" ")[2])
    if not links:
        return ()
    urls = await _urls(mirror, commit)
    named = []
    for path, at in sorted(links.items()):
        try:
            named.append(Named(path=_check_path(path), commit=at, url=resolve_url(urls.get(path), origins)))
        except UsageError as error:
            refused.append(f"{path!r}: {error}")
    return named


def resolve_url(url: str | None, origins: Origins) -> str:
    """Return the https address of a submodule; a relative one is beside the repository. UsageError."""
    if url is None:
        raise UsageError(".gitmodules does not say where it is, or under a name that cannot be one")
    parent = urlsplit(origins.parent)
    if url.startswith(("./", "../")):
        path = normpath(f"{parent.path.rstrip('/')}/{url}")
        url = f"{parent.scheme}://{parent.netloc}{path}"
    url = _over_https(url)
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise UsageError(f"{url[:200]!r} cannot be read: {error}") from error
    if not is_beside(url, origins.parent) and (parts.scheme != "https" or not origins.is_allowed(url)):
        raise UsageError(f"{url[:200]!r} is at no forge that submodules may come from, over https")
    if parts.query or parts.fragment or not _PATH.fullmatch(parts.path) or ".." in parts.path.split("/"):
        raise UsageError(f"{url[:200]!r} is no plain address of a repository")
    return url.rstrip("/")


def is_beside(url: str, parent: str) -> bool:
    """Whether both are on the same server, reached in the same way."""
    one, other = urlsplit(url), urlsplit(parent)
    return (one.scheme, one.netloc) == (other.scheme, other.netloc) and one.scheme in ("http", "https")


def _over_https(url: str) -> str:
    """Return where a repository behind ssh is for those who have no key there; other addresses as they are."""
    try:
        ssh = parse_ssh_address(url)
    except ValueError as error:
        raise UsageError(f"{url[:200]!r} cannot be read: {error}") from error
    return url if ssh is None or ssh.port is not None else f"https://{ssh.host}/{ssh.path.lstrip('/')}"


def _check_path(path: str) -> str:
    if not _NAME.fullmatch(path) or any(part in (".", "..") or part.lower() == ".git" for part in path.split("/")):
        raise UsageError("a submodule's path is of letters, digits and . _ + - (CVE-2025-48384)")
    return path


async def _urls(mirror: Path, commit: Commit) -> Mapping[str, str]:
    """Return the address of each path that `.gitmodules` names. Git reads it, and follows nothing in it."""
    asked = ["config", "--blob", f"{commit}:.gitmodules", "--no-includes", "-z", "--list"]
    said = await run_git(asked, git_dir=mirror, accept=range(256), limit_bytes=1024 * 1024)
    paths, urls = dict[str, str](), dict[str, str]()
    for record in said.stdout.decode(errors="replace").split("\0") if said.status == 0 else ():
        key, _, value = record.partition("\n")
        section, _, name = key.partition(".")
        name, _, what = name.rpartition(".")
        if section == "submodule" and _NAME.fullmatch(name) and ".." not in name.split("/"):
            if what == "path":
                paths[name] = value
            elif what == "url":
                urls[name] = value
    return {path: urls[name] for name, path in paths.items() if name in urls}


async def _bring(source: Path, tree: str, target: Path) -> None:
    """Copy a tree with all it has into another mirror's objects."""
    there = await run_git(["cat-file", "-e", tree], git_dir=target, accept=range(256))
    if there.status == 0:
        return
    objects = await run_git(["rev-list", "--objects", "--no-object-names", tree], git_dir=source)
    with TemporaryDirectory(prefix="cloister-pack-", dir=target.parent) as folder:  # it may be large for the memory
        asked = ["pack-objects", "--quiet", f"{folder}/pack"]
        made = await run_git(asked, git_dir=source, stdin=objects.stdout, timeout_seconds=900.0)
        pack = Path(folder, f"pack-{made.stdout.decode().strip()}.pack")
        with _opened(pack) as file:
            asked = ["index-pack", "--stdin", "--fsck-objects"]
            await run_git(asked, git_dir=target, stdin=file, timeout_seconds=900.0)


def _opened(pack: Path) -> BinaryIO:
    if pack.stat().st_size > LARGEST_BYTES:
        raise RepositoryError(f"it has more than {LARGEST_BYTES} bytes")
    return pack.open("rb")


def _shown(left: Sequence[str]) -> Sequence[str]:
    more = len(left) - MOST
    return [*islice(left, MOST), *([f"and {more} more"] if more > 0 else [])]


def _whole(mirror: Path, commit: Commit) -> Path:
    """Where it is noted that nothing of a commit was left."""
    return mirror / LISTS / f"{commit}.whole"


def _keep(mirror: Path, commit: Commit, found: Sequence[tuple[str, str]]) -> None:
    place = mirror / LISTS / commit
    draft = place.with_name(f"{commit}.{token_hex(4)}")
    place.parent.mkdir(exist_ok=True)
    draft.write_bytes(b"".join(f"{tree} {path}\0".encode() for tree, path in found))
    draft.rename(place)
