"""A forge whose repositories are tables in memory."""

import hashlib
from collections.abc import AsyncIterable, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from cloister.errors import NotFoundError, RepositoryError, UsageError
from cloister.model.bundle import is_bundle
from cloister.model.forge import ForgeBranch
from cloister.model.large_file import LargeFiles
from cloister.model.project import LOCK_FILES, ProjectFile, ProjectFiles, is_project_file
from cloister.model.sandbox import Commit
from cloister.model.submodule import Submodules
from cloister.model.task import OWN_BRANCHES, Repository, Revision
from cloister.protocols import Forge

OnCall = Callable[[str, str], Awaitable[None]]
"""Told of each call before it takes effect, as (repository, call). What it raises, the call raises."""

SHORTEST_COMMIT = 4
"""Digits; git takes no fewer for a commit (core.abbrev, git-config(1))."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeRepository:
    """What a repository holds."""

    refs: Mapping[str, Commit]
    """Branches and tags; a commit may be asked for by any beginning that only it has."""
    tags: Collection[str] = ()
    """Those of them that are tags."""
    default_branch: str = "main"
    files: Mapping[tuple[Commit, str], bytes] = field(default_factory=dict)
    note: str | None = None
    commits: Collection[Commit] = ()
    """Those that no branch or tag points to."""
    merge_bases: Mapping[tuple[Commit, Commit], Commit] = field(default_factory=dict)
    diffs: Mapping[tuple[Commit, Commit], bytes] = field(default_factory=dict)
    bare_mirror: Path | None = None
    """A real one, for who reads it; without, the mirror is a path where nothing is."""

    def all_commits(self) -> set[Commit]:
        """Every commit that can be asked for."""
        return {*self.refs.values(), *self.commits}


class FakeForge:
    """Repositories by address."""

    def __init__(self, repositories: Mapping[str, FakeRepository], *, on_call: OnCall | None = None) -> None:
        self._repositories = dict(repositories)
        self._on_call = on_call

    async def resolve(self, repository: Repository, ref: str | None) -> Revision:
        """See `protocols.Forge`."""
        found = await self._get(repository, f"resolve {ref}")
        default = found.default_branch
        if default not in found.refs and ref in found.refs:
            default = str(ref)
        if default not in found.refs:
            raise NotFoundError(f"{repository.address} has no commit")
        name = default if ref is None else ref
        commit = _find_commit(found, name)
        if commit is None:
            raise NotFoundError(f"{repository.address} has no branch, tag or commit {name!r}")
        if _is_foreign(found, found.refs[default]):
            raise UsageError(f"the default branch of {repository.address} is {default}, which an agent wrote")
        return Revision(
            ref=name,
            commit=commit,
            default_branch=default,
            default_commit=found.refs[default],
            foreign=_is_foreign(found, commit),
        )

    async def branches(self, repository: Repository) -> Sequence[ForgeBranch]:
        """See `protocols.Forge`."""
        found = await self._get(repository, "branches")
        names = sorted(found.refs.keys() - {*found.tags})
        return [ForgeBranch(name=name, commit=found.refs[name], protected=False) for name in names]

    async def take_bundle(self, repository: Repository, bundle: AsyncIterable[bytes], *, head: str | None) -> None:
        """See `protocols.Forge`. Any bytes are a bundle with one branch, whose commit is their digest."""
        content = b"".join([part async for part in bundle])
        if not content:
            raise UsageError("what was sent is no git bundle")
        branch = head or "main"
        refs = {branch: Commit(hashlib.sha1(content).hexdigest())}
        self._repositories[repository.address] = FakeRepository(refs=refs, default_branch=branch)

    async def unused_bundles(self, before: datetime) -> Sequence[str]:
        """See `protocols.Forge`. Nobody looks at when they were used: all are."""
        del before
        return [address for address in self._repositories if is_bundle(address)]

    async def forget_bundle(self, address: str, before: datetime) -> bool:
        """See `protocols.Forge`."""
        del before
        return self._repositories.pop(address, None) is not None

    async def mirror(self, repository: Repository, commit: Commit) -> Path:
        """See `protocols.Forge`."""
        found = await self._get(repository, f"mirror {commit}")
        if commit not in found.all_commits():
            raise RepositoryError(f"{repository.address} has no commit {commit} any more")
        return found.bare_mirror or Path("/mirrors") / repository.directory

    async def fetch_large_files(self, repository: Repository, commits: Sequence[Commit]) -> LargeFiles:
        """See `protocols.Forge`. There are none."""
        del repository, commits
        return LargeFiles()

    async def tidy(self) -> None:
        """See `protocols.Forge`. There is nothing to remove."""

    async def fetch_submodules(self, repository: Repository, commits: Sequence[Commit], default: Commit) -> Submodules:
        """See `protocols.Forge`. There are none."""
        del repository, commits, default
        return Submodules()

    async def read_file(self, repository: Repository, commit: Commit, path: str) -> bytes | None:
        """See `protocols.Forge`."""
        found = await self._get(repository, f"read {path} at {commit}")
        assert commit in found.all_commits(), f"read_file at {commit}, which nobody resolved"
        return found.files.get((commit, path))

    async def find_files(self, repository: Repository, commit: Commit, paths: Sequence[str]) -> Sequence[str]:
        """See `protocols.Forge`."""
        found = await self._get(repository, f"find files at {commit}")
        assert commit in found.all_commits(), f"find_files at {commit}, which nobody resolved"
        own = (path for at, path in found.files if at == commit)
        return sorted(path for path in own if any(path == one or path.startswith(f"{one}/") for one in paths))

    async def merge_base(self, repository: Repository, one: Commit, other: Commit) -> Commit | None:
        """See `protocols.Forge`. As the script says, in either order."""
        found = await self._get(repository, f"merge base of {one} and {other}")
        return found.merge_bases.get((one, other)) or found.merge_bases.get((other, one))

    async def diff(self, repository: Repository, old: Commit, new: Commit, *, context: int = 3) -> bytes:
        """See `protocols.Forge`. As the script says, whatever the context; nothing differs of a commit from itself."""
        del context
        found = await self._get(repository, f"diff of {old} and {new}")
        assert {old, new} <= found.all_commits(), f"a diff of {old} and {new}, which nobody resolved"
        return b"" if old == new else found.diffs[old, new]

    async def project_files(self, repository: Repository, commit: Commit) -> ProjectFiles:
        """See `protocols.Forge`. A file's identity is the digest of its content."""
        found = await self._get(repository, f"project files at {commit}")
        assert commit in found.all_commits(), f"project_files at {commit}, which nobody resolved"
        own = {path: content for (at, path), content in found.files.items() if at == commit and is_project_file(path)}
        return ProjectFiles({path: _project_file(path, content) for path, content in own.items()})

    async def note(self, repository: Repository) -> str | None:
        """See `protocols.Forge`."""
        return (await self._get(repository, "note")).note

    async def _get(self, repository: Repository, call: str) -> FakeRepository:
        if self._on_call is not None:
            await self._on_call(repository.address, call)
        if repository.address not in self._repositories:
            raise NotFoundError(f"there is no repository at {repository.address}")
        return self._repositories[repository.address]


def _find_commit(repository: FakeRepository, ref: str) -> Commit | None:
    if ref in repository.refs:
        return repository.refs[ref]
    if len(ref) < SHORTEST_COMMIT:
        return None
    begun = {commit for commit in repository.all_commits() if commit.startswith(ref)}
    return begun.pop() if len(begun) == 1 else None


def _is_foreign(repository: FakeRepository, commit: Commit) -> bool:
    """By the tips alone: histories are not told here."""
    holders = [name for name, tip in repository.refs.items() if tip == commit]
    return bool(holders) and all(name.startswith(OWN_BRANCHES) for name in holders)


def _project_file(path: str, content: bytes) -> ProjectFile:
    is_lock = path.rpartition("/")[2] in LOCK_FILES
    return ProjectFile(hashlib.sha1(content).hexdigest(), "" if is_lock else content.decode(errors="replace"))


def _conforms(forge: FakeForge) -> Forge:
    return forge
