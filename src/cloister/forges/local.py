"""Repositories wherever git reaches them: at a path or an address, behind ssh, and at a forge with its login."""

import hashlib
import re
import shlex
from collections.abc import AsyncIterable, Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urlsplit

import anyio.to_thread

from cloister.errors import DeniedError, NotFoundError, RepositoryError, UsageError
from cloister.forges.bundle import read_bundle, take_bundle
from cloister.forges.large_fetch import LARGEST_BYTES, Source, fetch_large_files
from cloister.forges.large_files import read_large_files
from cloister.forges.large_prune import SHARE, prune_objects
from cloister.forges.large_server import LargeServer
from cloister.forges.mirror import Mirror
from cloister.forges.project_files import kept_project_files, read_project_files
from cloister.forges.reach import Reach
from cloister.forges.remote import DETACHED, HEADS, Remote, read_remote
from cloister.forges.sent import find_unused, forget, note_use
from cloister.forges.ssh import ssh_transport
from cloister.forges.ssh_reach import pinned_options
from cloister.forges.submodules import Origins, fetch_submodules
from cloister.forges.unchanged import Unchanged, state_of
from cloister.git import with_settings
from cloister.model.bundle import MOST_SENT_BYTES, is_bundle
from cloister.model.forge import ForgeBranch, Way
from cloister.model.large_file import LargeFiles
from cloister.model.project import ProjectFiles
from cloister.model.sandbox import Commit
from cloister.model.ssh_address import SshAddress, parse_ssh_address
from cloister.model.submodule import Submodules
from cloister.model.task import OWN_BRANCHES, Repository, Revision
from cloister.protocols import Forge, ForgeHost
from cloister.together import Together
from cloister.uncommitted import uncommitted_note

MOST_BRANCHES = 1000
"""That are listed."""
LARGEST_FILE_BYTES = 16 * 1024 * 1024
LARGEST_DIFF_BYTES = 32 * 1024 * 1024
STRANGERS = "without-login"
"""Folder of what was fetched as anybody may."""
_SHORT_COMMIT = re.compile(r"[0-9a-fA-F]{4,64}")
_FULL_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_REVISION = re.compile(r"[~^]|@\{")
"""What no ref's name can hold, and git's own notation for commits does (gitrevisions(7))."""
_FORBIDDEN_ADDRESS = re.compile(r"^-|^[a-z0-9+.-]+::|[\x00-\x1f\x7f]", re.IGNORECASE)


class LocalForge:
    """`protocols.Forge` over mirrors in `state`/mirrors."""

    def __init__(
        self,
        state: Path,
        *,
        ssh_config: Path | None = None,
        reach: Reach | None = None,
        host: ForgeHost | None = None,
        most_large_bytes: int = LARGEST_BYTES,
        most_sent_bytes: int = MOST_SENT_BYTES,
        adopted: Callable[[], Awaitable[Mapping[Commit, str]]] | None = None,
    ) -> None:
        """`ssh_config` takes the place of the user's and the system's own; see ssh_config(5).

        `reach` judges where guarded repositories are; without it, they may be anywhere. `host` knows the way to its
        own. `adopted` tells what Cloister pushed to branches of people.
        """
        self._adopted = adopted
        self._reach = reach
        self._mirrors = state / "mirrors"
        self._ssh_config = ssh_config
        self._host = host
        self._most_large_bytes = most_large_bytes
        self._most_sent_bytes = most_sent_bytes
        self._large: Together[tuple[Path, tuple[Commit, ...]], LargeFiles] = Together()
        self._looks: Together[tuple[str, tuple[tuple[str, str], ...]], Remote] = Together()
        self._unchanged = Unchanged()
        self._notes: Together[Path, str | None] = Together()

    async def resolve(self, repository: Repository, ref: str | None) -> Revision:
        """Bring the mirror up to date and pin `ref`; see `protocols.Forge`.

        A warm mirror costs one `git ls-remote`. A branch wins over a tag of its name, and both over a commit;
        `refs/tags/x` names the tag. Raises UsageError for a short commit that stands for several.
        """
        remote, mirror, way = await self._read(repository)
        default_branch, default_commit = _default(remote, ref)
        await mirror.follow(remote)
        name = default_branch if ref in (None, DETACHED) else str(ref)
        commit = default_commit if ref in (None, DETACHED) else await _find(mirror, remote, name)
        for pinned in {commit, default_commit}:
            if not await mirror.has(pinned):
                await _pin(mirror, way, pinned)
        foreign = await self._is_foreign(mirror, commit, default_commit)
        if default_branch.startswith(OWN_BRANCHES) and await mirror.is_foreign(default_commit):
            raise UsageError(
                f"the default branch of {repository.address} is {default_branch}, which an agent wrote",
                hint="check another branch out, and merge that one into it if it shall be trusted",
            )
        return Revision(
            ref=name,
            commit=commit,
            default_branch=default_branch,
            default_commit=default_commit,
            foreign=foreign,
        )

    async def branches(self, repository: Repository) -> Sequence[ForgeBranch]:
        """Ask git for them; see `protocols.Forge`."""
        remote, _, _ = await self._read(repository)
        names = sorted(name for name in remote.refs if name.startswith(HEADS))
        return [
            ForgeBranch(name=name.removeprefix(HEADS), commit=Commit(remote.refs[name]), protected=False)
            for name in names[:MOST_BRANCHES]
        ]

    async def take_bundle(self, repository: Repository, bundle: AsyncIterable[bytes], *, head: str | None) -> None:
        """Make the mirror of what was sent; see `protocols.Forge`."""
        assert is_bundle(repository.address), f"{repository.address} is no bundle's"
        mirror = self._mirror(repository)
        await take_bundle(mirror, repository.address, bundle, head=head, most_bytes=self._most_sent_bytes)

    async def unused_bundles(self, before: datetime) -> Sequence[str]:
        """By the notes beside their mirrors; see `protocols.Forge`."""
        return find_unused(self._mirrors, before)

    async def forget_bundle(self, address: str, before: datetime) -> bool:
        """Remove the mirror and its note; see `protocols.Forge`."""
        return await forget(self._mirror(Repository(address=address, directory="")), before)

    async def mirror(self, repository: Repository, commit: Commit) -> Path:
        """Return the mirror with `commit` in it; see `protocols.Forge`."""
        mirror = self._mirror(repository)
        if is_bundle(repository.address) and mirror.path.exists():
            note_use(mirror, repository.address)
        if not await mirror.has(commit):
            remote, mirror, way = await self._read(repository)
            await mirror.follow(remote)
            if not await mirror.has(commit):
                await _pin(mirror, way, commit)
        return mirror.path

    async def fetch_large_files(self, repository: Repository, commits: Sequence[Commit]) -> LargeFiles:
        """Bring large objects into the mirror; see `protocols.Forge`."""
        mirror, wanted = self._mirror(repository).path, commits
        commits = [it for it in dict.fromkeys(wanted) if await self._mirror(repository).has(it)]
        if not [file for commit in commits for file in await read_large_files(mirror, commit)]:
            return LargeFiles()
        fetch = partial(
            fetch_large_files,
            mirror,
            commits,
            await self._large_source(repository),
            most_bytes=self._most_large_bytes,
        )
        return await self._large.get((mirror, tuple(commits)), fetch)

    async def tidy(self) -> None:
        """Look at every mirror; see `protocols.Forge`."""
        await anyio.to_thread.run_sync(self._tidy)

    def _tidy(self) -> None:
        for place in (self._mirrors, self._mirrors.parent / STRANGERS / "mirrors"):
            for folder in place.glob("*.git"):
                prune_objects(folder, most_bytes=SHARE * self._most_large_bytes)

    async def fetch_submodules(self, repository: Repository, commits: Sequence[Commit], default: Commit) -> Submodules:
        """Bring their trees into the mirror; see `protocols.Forge`."""
        mirror = self._mirror(repository)
        told = Submodules()
        for commit in [it for it in dict.fromkeys(commits) if await mirror.has(it)]:
            known = default if await mirror.has(default) else None
            origins = Origins(parent=repository.address, guarded=repository.guarded, is_allowed=self._is_at_forge)
            is_foreign = partial(self._is_foreign, mirror, commit, known)
            fetch = partial(self._fetch_submodule, repository)
            told = await fetch_submodules(mirror.path, commit, known, origins, fetch, is_foreign)
        return told

    async def _is_foreign(self, mirror: Mirror, commit: Commit, default: Commit | None) -> bool:
        if commit == default:
            return False
        if await mirror.is_foreign(commit):
            return True
        pushed = await self._adopted() if self._adopted is not None else {}
        return default is not None and await mirror.has_unmerged(commit, default, pushed)

    def _is_at_forge(self, address: str) -> bool:
        return self._host is not None and self._host.covers(Repository(address=address, directory="submodule"))

    async def _fetch_submodule(self, parent: Repository, repository: Repository, commit: Commit, login: bool) -> Path:
        """Return a mirror with the commit; what was fetched with a login is no use to those who have none.

        Whose work a public repository is comes from anybody, and its mirror is in each of its sandboxes.
        """
        stranger = LocalForge(self._mirrors.parent / STRANGERS, reach=self._reach)
        return await (self if login and not await self._is_public(parent) else stranger).mirror(repository, commit)

    async def _is_public(self, repository: Repository) -> bool:
        """Whether the forge shows it to everybody."""
        if self._host is None or not self._host.covers(repository):
            return False
        try:
            return not (await self._host.describe(repository)).private
        except (DeniedError, NotFoundError):  # it is read without a login then
            return True

    async def _large_source(self, repository: Repository) -> Source:
        if is_bundle(repository.address):
            return Source(nowhere="a bundle brings no objects of Git LFS")
        if (path := local_path(repository)) is not None:
            return Source(path=path)
        if _ssh_address(repository.address) is not None:
            return Source(
                nowhere="over ssh, objects of Git LFS are not fetched; name the repository by its https address"
            )
        return Source(server=LargeServer(await self._way(repository), reach=self._reach, guarded=repository.guarded))

    async def read_file(self, repository: Repository, commit: Commit, path: str) -> bytes | None:
        """Return a file of that commit; see `protocols.Forge`. RepositoryError above 16 MiB."""
        mirror = Mirror(await self.mirror(repository, commit))
        return await mirror.read_file(commit, path, limit_bytes=LARGEST_FILE_BYTES)

    async def find_files(self, repository: Repository, commit: Commit, paths: Sequence[str]) -> Sequence[str]:
        """Return which of these files are in that commit; see `protocols.Forge`."""
        return await Mirror(await self.mirror(repository, commit)).find_files(commit, paths)

    async def merge_base(self, repository: Repository, one: Commit, other: Commit) -> Commit | None:
        """Return the best common ancestor; see `protocols.Forge`."""
        await self.mirror(repository, other)
        return await Mirror(await self.mirror(repository, one)).merge_base(one, other)

    async def diff(self, repository: Repository, old: Commit, new: Commit, *, context: int = 3) -> bytes:
        """Return what differs; see `protocols.Forge`."""
        await self.mirror(repository, old)
        mirror = Mirror(await self.mirror(repository, new))
        return await mirror.diff(old, new, context=context, limit_bytes=LARGEST_DIFF_BYTES)

    async def project_files(self, repository: Repository, commit: Commit) -> ProjectFiles:
        """Return the manifests and lock files of that commit; see `protocols.Forge`."""
        kept = kept_project_files(self._mirror(repository).path, commit)  # first: on the way of every start
        return kept or await read_project_files(await self.mirror(repository, commit), commit)

    async def note(self, repository: Repository) -> str | None:
        """Say what of a local work tree is left out; see `protocols.Forge`."""
        path = local_path(repository)
        return await self._notes.get(path, partial(uncommitted_note, path)) if path is not None else None

    def _mirror(self, repository: Repository, way: Way | None = None) -> Mirror:
        digest = hashlib.sha256(repository.address.encode()).hexdigest()
        return Mirror(self._mirrors / f"{digest}.git", {} if way is None else way.variables)

    async def _way(self, repository: Repository) -> Way:
        """Return the way there. DeniedError when it is guarded, and is where nobody may be sent."""
        address = repository.address
        reach = self._reach if repository.guarded else None
        if (ssh := _ssh_address(address)) is not None:
            pinned = () if reach is None else await pinned_options(ssh, reach, self._ssh_config)
            return Way(address=address, variables=ssh_transport(self._ssh_config, pinned))
        if local_path(repository) is not None:
            return Way(address=address)
        way = Way(address=address) if self._host is None else await self._host.way_to(repository)
        return (
            way if reach is None else replace(way, variables=with_settings(way.variables, await reach.pin(way.address)))
        )

    async def _read(self, repository: Repository) -> tuple[Remote, Mirror, Way]:
        """Ask the repository, and return its mirror with the same way there.

        What git would take for an option or a program is refused even when nobody did before.
        """
        if is_bundle(repository.address):
            mirror = self._mirror(repository)
            return await read_bundle(mirror, repository.address), mirror, Way(address=repository.address)
        _check_address(repository)
        way = await self._way(repository)
        return await self._look(repository, way), self._mirror(repository, way), way

    async def _look(self, repository: Repository, way: Way) -> Remote:
        path = local_path(repository)
        state = state_of(path) if path is not None else None
        if (known := self._unchanged.find(way.address, state)) is not None:
            return known
        look = partial(read_remote, way.address, way.variables)
        remote = await self._looks.get((way.address, tuple(sorted(way.variables.items()))), look)
        if path is not None:
            self._unchanged.keep(path, state, remote)
        return remote


_: type[Forge] = LocalForge


def local_path(repository: Repository) -> Path | None:
    """Return the path of a repository on this machine; None for one behind http or ssh."""
    if repository.address.startswith("/"):
        return Path(repository.address)
    url = urlsplit(repository.address)
    return Path(unquote(url.path)) if url.scheme == "file" else None


def is_behind_ssh(address: str) -> bool:
    """Whether git would run ssh for it. UsageError when that is all that can be said for it."""
    return _ssh_address(address) is not None


def _ssh_address(address: str) -> SshAddress | None:
    try:
        return parse_ssh_address(address)
    except ValueError as error:
        raise UsageError(f"the repository's address cannot be read: {error}") from error  # it may hold a password


def _check_address(repository: Repository) -> None:
    address = repository.address
    if _FORBIDDEN_ADDRESS.search(address):
        raise UsageError(f"{address!r} is not an address that Cloister gives to git")
    path = local_path(repository)
    if path is not None:
        _check_path(path)
    elif not is_behind_ssh(address) and (
        not address.startswith(("http://", "https://")) or "@" in urlsplit(address).netloc
    ):
        raise UsageError("give an absolute path, or a file, http, https or ssh URL without a password")


def _check_path(path: Path) -> None:
    if not path.exists():
        raise NotFoundError(f"there is no {path}")
    if _is_repository(path):
        return
    if root := next((parent for parent in path.parents if (parent / ".git").exists()), None):
        raise NotFoundError(f"{path} is a folder inside the repository {root}", hint=f"give its root: --repo {root}")
    raise NotFoundError(
        f"{path} is not a git repository", hint='make it one: git init && git add -A && git commit -m "first"'
    )


def _is_repository(path: Path) -> bool:
    return (path / ".git").exists() or ((path / "HEAD").exists() and (path / "objects").exists())


def _default(remote: Remote, ref: str | None) -> tuple[str, Commit]:
    """The default branch; where it has no commit, the asked branch stands for it."""
    if remote.head_commit is None and ref is not None and (asked := remote.find(ref)) is not None:
        return ref, Commit(asked)
    return remote.default()


async def _find(mirror: Mirror, remote: Remote, ref: str) -> Commit:
    pointed_to = remote.find(ref)
    if pointed_to is None and _SHORT_COMMIT.fullmatch(ref):
        return await _find_commit(mirror, remote, ref.lower())
    if pointed_to is None:
        raise _unknown(remote, ref)
    if remote.refs.get(HEADS + ref) == pointed_to:
        return Commit(pointed_to)  # git lets a branch point to nothing but a commit
    commit = await mirror.find_commit(pointed_to)
    if commit is None:
        raise NotFoundError(f"{ref} of {remote.address} is not a commit")
    return commit


async def _find_commit(mirror: Mirror, remote: Remote, name: str) -> Commit:
    found = await mirror.find_commits(name)
    if len(found) > 1:
        raise UsageError(f"{name} is short for {len(found)} commits", hint="give more of its digits")
    if found:
        return found[0]
    if not _FULL_COMMIT.fullmatch(name):
        raise _unknown(remote, name)
    try:
        await mirror.pin(remote.address, Commit(name))
    except RepositoryError as error:
        raise _unknown(remote, name) from error
    return Commit(name)


async def _pin(mirror: Mirror, way: Way, commit: Commit) -> None:
    try:
        await mirror.pin(way.address, commit)
    except RepositoryError as error:
        raise RepositoryError(f"commit {commit} is no longer in {way.address}: {error}") from error


def _unknown(remote: Remote, ref: str) -> NotFoundError:
    near = remote.near(ref)
    hint = f"did you mean {', '.join(near)}?" if near else "see: git branch -a; git tag"
    if _REVISION.search(ref):
        hint = f"give the commit itself: git rev-parse {shlex.quote(ref)}"
    return NotFoundError(f"there is no branch, tag or commit {ref!r} in {remote.address}", hint=hint)
