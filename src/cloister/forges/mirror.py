"""A bare copy of one repository on this node, whose objects are lent to sandboxes and never pruned."""

import fcntl
import os
import re
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path, PurePosixPath
from types import MappingProxyType

import anyio
import anyio.to_thread

from cloister.forges.remote import HEADS, TAGS, Remote
from cloister.git import run_git
from cloister.model.sandbox import Commit
from cloister.model.task import OWN_BRANCHES

MOST_FILES_FOUND = 1000
FETCH_SECONDS = 30 * 60.0
_EVERYTHING = (f"+{HEADS}*:{HEADS}*", f"+{TAGS}*:{TAGS}*")
_PINNED = "refs/cloister/commits/"
_FETCH = (
    *("fetch", "--quiet", "--no-tags", "--no-auto-gc", "--no-write-fetch-head", "--no-recurse-submodules"),
    *("--no-show-forced-updates", "--update-shallow"),
)
_PACKED_REF = re.compile(r"^([0-9a-f]{40,64}) (refs/(?:heads|tags)/.+)$", re.MULTILINE)


class Mirror:
    """The mirror at `path`. Any number of tasks and processes may use it at once."""

    def __init__(self, path: Path, transport: Mapping[str, str] = MappingProxyType({})) -> None:
        """`transport` are the variables that git needs to get to the repository."""
        self.path = path
        self._transport = transport

    def refs(self) -> Mapping[str, str]:
        """Return its branches and tags, as `Remote.refs`. They are packed after each fetch, so one file has all."""
        try:
            text = (self.path / "packed-refs").read_text(errors="replace")
        except FileNotFoundError:
            return {}
        return {name: value for value, name in _PACKED_REF.findall(text)}

    async def follow(self, remote: Remote) -> None:
        """Fetch all branches and tags, unless they already are what `remote` says.

        Of several callers that see the same state one fetches, and the others wait for it.
        """
        if self._equals(remote):
            return
        async with self.lock():
            if not self._equals(remote):
                await self._make(remote)
                await self._fetch(remote.address, "--prune", refspecs=_EVERYTHING)
                await run_git(["pack-refs", "--all"], git_dir=self.path)
                self._set_head(remote)

    async def take(self, bundle: Path, remote: Remote) -> None:
        """Be what a bundle holds, which says `remote` of itself. RepositoryError, and then all refs are as before."""
        async with self.lock():
            await self._make(remote)
            await run_git(["bundle", "verify", "--quiet", str(bundle)], git_dir=self.path)
            await self._fetch(str(bundle), "--prune", "--atomic", refspecs=_EVERYTHING)
            if remote.head_branch is None and remote.head_commit is not None:
                await self._fetch(str(bundle), refspecs=(f"+HEAD:{_PINNED}{remote.head_commit}",))
            await run_git(["pack-refs", "--all"], git_dir=self.path)
            self._set_head(remote)

    async def pin(self, address: str, commit: Commit) -> None:
        """Fetch one commit that no branch or tag leads to. Raises RepositoryError."""
        async with self.lock():
            await self._fetch(address, refspecs=(f"+{commit}:{_PINNED}{commit}",))

    async def has(self, commit: Commit) -> bool:
        """Whether that commit is here."""
        return commit in self.refs().values() or await self.find_commit(commit) == commit

    async def find_commit(self, object_id: str) -> Commit | None:
        """Return the commit that a full object id stands for, through annotated tags; None when there is none."""
        return next(iter(await self._peel([object_id])), None)

    async def find_commits(self, prefix: str) -> Sequence[Commit]:
        """Return every commit whose id, or whose annotated tag's, begins with `prefix` (at least 4 digits)."""
        if not self.path.exists():
            return []
        output = await run_git(["rev-parse", f"--disambiguate={prefix}"], git_dir=self.path)
        return await self._peel(output.stdout.decode().split())

    async def _peel(self, object_ids: Sequence[str]) -> Sequence[Commit]:
        if not object_ids or not self.path.exists():
            return []
        output = await run_git(
            ["cat-file", "--batch-check=%(objectname) %(objecttype)"],
            git_dir=self.path,
            stdin="".join(f"{object_id}^{{commit}}\n" for object_id in object_ids).encode(),
        )
        lines = (line.rpartition(" ") for line in output.stdout.decode().splitlines())
        return sorted({Commit(object_id) for object_id, _, kind in lines if kind == "commit"})

    async def merge_base(self, one: Commit, other: Commit) -> Commit | None:
        """Return the best common ancestor; None when there is none."""
        output = await run_git(["merge-base", one, other], git_dir=self.path, accept=(0, 1))
        return Commit(output.stdout.decode().strip()) if output.status == 0 else None

    async def diff(self, old: Commit, new: Commit, *, context: int, limit_bytes: int) -> bytes:
        """Return what differs, as git writes it."""
        how = ("--no-color", "--no-ext-diff", "--no-textconv", "--find-renames", f"--unified={context}")
        output = await run_git(
            ["-c", "core.quotePath=false", "diff", *how, old, new, "--"], git_dir=self.path, limit_bytes=limit_bytes
        )
        return output.stdout

    async def is_foreign(self, commit: Commit) -> bool:
        """Whether no branch or tag has that commit, tip or history, but those that Cloister pushes."""
        if any(value == commit and not _is_own(name) for name, value in self.refs().items()):
            return False
        return all(_is_own(name) for name in await self._holders(commit))

    async def has_unmerged(self, commit: Commit, default: Commit, pushed: Mapping[Commit, str]) -> bool:
        """Whether it holds a commit of `pushed` that nobody took over: only the branch that it was pushed to has that.

        What branches of Cloister's own have says nothing. What the commit `default` has is taken over.
        """
        there = await self._peel(list(pushed)) if pushed else ()
        if not there:
            return False
        output = await run_git(["rev-list", commit, f"^{default}"], git_dir=self.path)
        new = set(output.stdout.decode().split())
        for it in (it for it in there if it in new):
            holders = await self._holders(it)
            if all(_is_own(name) or name == f"{HEADS}{pushed[it]}" for name in holders):
                return True
        return False

    async def _holders(self, commit: Commit) -> Sequence[str]:
        """Return the branches and tags that have a commit, tip or history."""
        asked = ["for-each-ref", f"--contains={commit}", "--format=%(refname)", HEADS.rstrip("/"), TAGS.rstrip("/")]
        return (await run_git(asked, git_dir=self.path)).stdout.decode(errors="replace").splitlines()

    async def read_file(self, commit: Commit, path: str, *, limit_bytes: int) -> bytes | None:
        """Return a regular file of a commit; None when there is none."""
        if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
            return None
        listing = await run_git(
            ["ls-tree", "-z", "--full-tree", commit, "--", path],
            git_dir=self.path,
            variables={"GIT_LITERAL_PATHSPECS": "1"},
        )
        entry, _, name = listing.stdout.rstrip(b"\0").partition(b"\t")
        if name != path.encode() or not entry.startswith(b"100"):
            return None
        blob = entry.decode().split(" ")[2]
        return (await run_git(["cat-file", "blob", blob], git_dir=self.path, limit_bytes=limit_bytes)).stdout

    async def find_files(self, commit: Commit, paths: Sequence[str]) -> Sequence[str]:
        """Return the paths of the regular files at or below these; those that are not UTF-8 are left out."""
        listing = await run_git(
            ["ls-tree", "-r", "-z", "--full-tree", commit, "--", *paths],
            git_dir=self.path,
            variables={"GIT_LITERAL_PATHSPECS": "1"},
        )
        found = []
        for line in listing.stdout.split(b"\0"):
            entry, _, name = line.partition(b"\t")
            with suppress(UnicodeDecodeError):
                if entry.startswith(b"100"):
                    found.append(name.decode())
        return sorted(found)[:MOST_FILES_FOUND]

    def _equals(self, remote: Remote) -> bool:
        return self.refs() == remote.refs and self._head() == _head_line(remote)

    def _head(self) -> str | None:
        try:
            return (self.path / "HEAD").read_text()
        except FileNotFoundError:
            return None

    def _set_head(self, remote: Remote) -> None:
        draft = self.path / "HEAD.draft"
        draft.write_text(_head_line(remote))
        draft.rename(self.path / "HEAD")

    async def _make(self, remote: Remote) -> None:
        if self.path.exists():
            return
        sha256 = any(len(value) == 64 for value in remote.refs.values())
        draft = self.path.with_suffix(".new")
        shutil.rmtree(draft, ignore_errors=True)
        await run_git(
            ["init", "--quiet", "--bare", f"--object-format={'sha256' if sha256 else 'sha1'}", str(draft)],
            git_dir=draft,
        )
        draft.rename(self.path)

    async def _fetch(self, address: str, *options: str, refspecs: Sequence[str]) -> None:
        await run_git(
            [*_FETCH, *options, "--", address, *refspecs],
            git_dir=self.path,
            variables=self._transport,
            timeout_seconds=FETCH_SECONDS,
        )

    @asynccontextmanager
    async def lock(self) -> AsyncIterator[None]:
        """Be the only one, of all processes, who changes it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.with_suffix(".lock").open("ab") as file:
            await _lock_file(file.fileno())
            yield


async def _lock_file(descriptor: int) -> None:
    """Wait for an exclusive flock(2), which ends with the last descriptor of this open file."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        # The thread may be left behind by a cancellation; it then gives its descriptor, and so the lock, back.
        await anyio.to_thread.run_sync(_flock_and_close, os.dup(descriptor), abandon_on_cancel=True)


def _flock_and_close(descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    finally:
        os.close(descriptor)


def _is_own(ref: str) -> bool:
    return ref.startswith(HEADS + OWN_BRANCHES)


def _head_line(remote: Remote) -> str:
    if remote.head_branch is not None:
        return f"ref: {HEADS}{remote.head_branch}\n"
    return f"{remote.head_commit}\n" if remote.head_commit else f"ref: {HEADS}main\n"
