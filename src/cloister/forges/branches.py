"""Commits made of a task's change on the bare mirror, without a work tree, and pushed to one branch alone."""

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from cloister.errors import ConflictError, DeniedError, HostError, RepositoryError, UnreachableError
from cloister.forges.large_publish import give_objects, put_pointers
from cloister.forges.large_server import LargeServer
from cloister.forges.mirror import FETCH_SECONDS
from cloister.forges.reach import Reach
from cloister.forges.remote import HEADS, is_ref_name, read_remote
from cloister.forges.signing import CommitSigner
from cloister.git import last_lines, run_git
from cloister.model.forge import Person, Way
from cloister.model.publication import BranchDraft, Composed, Pushed
from cloister.model.sandbox import Commit
from cloister.model.task import OWN_BRANCHES, Repository
from cloister.protocols import BranchWriter, Forge, ForgeHost

_STALE = re.compile(r"stale info|fetch first|non-fast-forward|cannot lock ref|reference already exists")
_REJECTED = re.compile(r"\[remote rejected\]|pre-receive hook declined|protected branch|GH\d{3}:|refusing to allow")
_REFUSED = re.compile(r"Permission to .* denied|error: 403|The requested URL returned error: 403")
_REMOTE = "remote: "


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorBranches:
    """`protocols.BranchWriter` over the mirrors of a forge."""

    forge: Forge
    host: ForgeHost
    signer: CommitSigner = field(default_factory=CommitSigner)
    """Signs what is pushed."""
    reach: Reach | None = None
    """Judges where the server of large files may send us; without it, anywhere."""

    async def head(self, repository: Repository, branch: str) -> Commit | None:
        """Ask the forge where its branch is now."""
        way = await self.host.way_to(repository, push=True)
        found = (await read_remote(way.address, way.variables)).refs.get(HEADS + branch)
        return None if found is None else Commit(found)

    async def compose(self, repository: Repository, draft: BranchDraft) -> Composed:
        """See `protocols.BranchWriter`."""
        onto = (await self.forge.resolve(repository, HEADS + draft.onto)).commit
        mirror = await self.forge.mirror(repository, draft.base)
        git = _Git(mirror, draft.author, f"{int(draft.at.timestamp())} +0000", self.signer)
        own = await git.apply(draft.base, draft.diff)
        if draft.former is None:
            head, conflicts = await _begin(git, draft, own, onto)
        else:
            await self.forge.mirror(repository, draft.former.head)
            head, conflicts = await _go_on(git, draft, draft.former, own, onto)
        return Composed(
            pushed=Pushed(head=head, tree=own, attempt=draft.attempt),
            onto=onto,
            conflicts=tuple(conflicts),
            is_empty=await git.tree(head) == await git.tree(onto),
            is_above=await git.is_ancestor(onto, head),
        )

    async def push(
        self,
        repository: Repository,
        branch: str,
        commit: Commit,
        *,
        expected: Commit | None,
        default_branch: str,
        workflows: bool = False,
        adopted: bool = False,
    ) -> None:
        """See `protocols.BranchWriter`. What is asked for is checked here once more, whoever did before."""
        is_own = adopted or branch.startswith(OWN_BRANCHES)
        if not is_own or not is_ref_name(HEADS + branch) or branch == default_branch:
            raise DeniedError(f"{branch!r} is no branch that Cloister pushes: its own begin with {OWN_BRANCHES}")
        mirror = await self.forge.mirror(repository, commit)
        way = await self.host.way_to(repository, push=True, workflows=workflows)
        await give_objects(mirror, commit, LargeServer(way, reach=self.reach, guarded=repository.guarded))
        # To a branch of people nothing is ever pushed but what goes on from where it is.
        lease = () if adopted else (f"--force-with-lease={HEADS}{branch}:{expected or ''}",)
        output = await run_git(
            ["push", "--porcelain", "--no-verify", *lease, "--", way.address, f"{commit}:{HEADS}{branch}"],
            git_dir=mirror,
            variables=way.variables,
            accept=range(256),
            timeout_seconds=FETCH_SECONDS,
        )
        if output.status != 0:
            said = f"{output.stderr}\n{output.stdout.decode(errors='replace')}"
            await self._explain(repository, branch, commit, way, said)

    async def _explain(self, repository: Repository, branch: str, commit: Commit, way: Way, said: str) -> None:
        """Return when the push arrived all the same; else raise what kept it from that."""
        words = "; ".join(line.removeprefix(_REMOTE).strip() for line in said.splitlines() if line.startswith(_REMOTE))
        if _REJECTED.search(said) and not _STALE.search(said):
            raise DeniedError(f"{way.address} refuses the branch {branch}: {words or last_lines(said)}")
        if _REFUSED.search(said):
            raise DeniedError(f"{way.address} does not let Cloister push: {words or last_lines(said)}")
        head = await self.head(repository, branch)
        if head == commit:
            return
        if _STALE.search(said):
            raise ConflictError(
                f"the branch {branch} is not what Cloister pushed last: somebody else pushed to it",
                hint="merge their commits yourself, or have them taken away; nothing was pushed",
            )
        raise UnreachableError(f"the push to {way.address} did not arrive: {last_lines(said)}")


_: type[BranchWriter] = MirrorBranches


async def _begin(git: "_Git", draft: BranchDraft, own: str, onto: Commit) -> tuple[Commit, Sequence[str]]:
    """The first commit: on the newest of the branch where that has gone on from the task's base, and can be merged."""
    if await git.merge_base(draft.base, onto) is None:
        raise ConflictError(
            f"the branch {draft.onto} has no history in common with what the task began at",
            hint="the repository may be another one by now; nothing was pushed",
        )
    if onto == draft.base or not await git.is_ancestor(draft.base, onto):
        return await git.commit(own, [draft.base], draft.message), ()
    merged, conflicts = await git.merge(await git.tree(draft.base), await git.tree(onto), own)
    if conflicts:
        return await git.commit(own, [draft.base], draft.message), conflicts
    return await git.commit(merged, [onto], draft.message), ()


async def _go_on(
    git: "_Git", draft: BranchDraft, former: Pushed, own: str, onto: Commit
) -> tuple[Commit, Sequence[str]]:
    """One more commit of what the agent did since, and a merge where the branch that it goes into has moved."""
    head = former.head
    if own != former.tree:
        tree, conflicts = await git.merge(former.tree, await git.tree(head), own)
        if conflicts:
            raise ConflictError(
                f"what was changed since does not fit the branch any more: {', '.join(conflicts[:5])}",
                hint="follow up, and ask the agent to start from the branch as it is",
            )
        head = await git.commit(tree, [head], draft.message)
    if await git.is_ancestor(onto, head):
        return head, ()
    base = await git.merge_base(head, onto)
    if base is None:
        return head, ()
    merged, conflicts = await git.merge(await git.tree(base), await git.tree(head), await git.tree(onto))
    if conflicts:
        return head, conflicts
    return await git.commit(merged, [head, onto], f"Merge {draft.onto}"), ()


class _Git:
    """Git on a bare repository of ours, which runs nothing that a repository names: no filter, driver or hook."""

    def __init__(self, path: Path, author: Person, at: str, signer: CommitSigner) -> None:
        self._path = path
        self._signer = signer
        roles = ("AUTHOR", "COMMITTER")
        self._person = {f"GIT_{role}_NAME": author.name for role in roles}
        self._person |= {f"GIT_{role}_EMAIL": author.email for role in roles} | {
            f"GIT_{role}_DATE": at for role in roles
        }

    async def apply(self, base: Commit, diff: bytes) -> str:
        """Return the tree of a commit with a diff applied, in an index that is gone afterwards."""
        with tempfile.TemporaryDirectory(prefix="cloister-index-") as folder:
            index = {"GIT_INDEX_FILE": f"{folder}/index"}
            await self._run(["read-tree", base], index)
            if diff:
                await self._run(["apply", "--cached", "--whitespace=nowarn", "-"], index, stdin=diff)
                await put_pointers(self._path, base, index)
            return await self._run(["write-tree"], index)

    async def commit(self, tree: str, parents: Sequence[str], message: str) -> Commit:
        """Make a commit, signed where there is a key: the same for the same, so that trying again makes no other."""
        if self._signer.key is None:
            return await self._commit(tree, parents, message)
        try:
            async with self._signer.variables() as variables:
                return await self._commit(tree, parents, message, "-S", variables=variables)
        except RepositoryError as error:
            raise HostError(
                f"commits cannot be signed with {self._signer.key}: {error}",
                hint="it must be a private key without passphrase, which Cloister's user alone can read",
            ) from error

    async def _commit(
        self,
        tree: str,
        parents: Sequence[str],
        message: str,
        *options: str,
        variables: Mapping[str, str] = MappingProxyType({}),
    ) -> Commit:
        asked = ["commit-tree", tree, *(option for parent in parents for option in ("-p", parent)), *options, "-F", "-"]
        return Commit(await self._run(asked, {**self._person, **variables}, stdin=message.encode()))

    async def tree(self, commit: Commit) -> str:
        """Return the tree of a commit."""
        return await self._run(["rev-parse", "--verify", f"{commit}^{{tree}}"])

    async def merge(self, base: str, ours: str, theirs: str) -> tuple[str, Sequence[str]]:
        """Merge three trees; return the merged one, and the paths with conflicts.

        `git merge-tree` finds the base by itself (before git 2.40 it takes none), so the trees get a history of two.
        """
        root = await self._commit(base, [], "base")
        sides = [await self._commit(tree, [root], name) for tree, name in ((ours, "ours"), (theirs, "theirs"))]
        asked = ["merge-tree", "--write-tree", "--name-only", "--no-messages", "-z", *sides]
        output = await run_git(asked, git_dir=self._path, accept=(0, 1))
        tree, *paths = output.stdout.decode(errors="replace").split("\0")
        return tree, sorted({path for path in paths if path}) if output.status else ()

    async def is_ancestor(self, commit: Commit, of: Commit) -> bool:
        """Whether a commit is in the history of another, or is it."""
        asked = ["merge-base", "--is-ancestor", commit, of]
        return (await run_git(asked, git_dir=self._path, accept=(0, 1))).status == 0

    async def merge_base(self, one: Commit, other: Commit) -> Commit | None:
        """Return the best common ancestor."""
        output = await run_git(["merge-base", one, other], git_dir=self._path, accept=(0, 1))
        return Commit(output.stdout.decode().strip()) if output.status == 0 else None

    async def _run(
        self, arguments: Sequence[str], variables: Mapping[str, str] | None = None, stdin: bytes = b""
    ) -> str:
        output = await run_git(arguments, git_dir=self._path, variables=variables, stdin=stdin)
        return output.stdout.decode().strip()
