"""Every part of Cloister that can be swapped, and what each promises.

Names come from the caller, so `create` finds or creates and `destroy` is harmless twice. "It failed"
is a value (`Exit`, `Outcome`), "we failed" an exception from `cloister.errors`. Every method may be
cancelled; what it had begun is then either complete or removed by `destroy`.
"""

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

import anyio

from cloister.model.agent import AgentCommand, AgentTurn
from cloister.model.agent_report import AgentReport
from cloister.model.artifact import FoundFile
from cloister.model.asker import Asker, Connection
from cloister.model.audit import AuditEntry, AuditFilter
from cloister.model.cancellation import AT_ONCE, Cancellation
from cloister.model.environment import Environment
from cloister.model.event import Event, RecordedEvent, RecordMissed
from cloister.model.forge import (
    ForgeBranch,
    ForgeLogin,
    ForgeRepository,
    NewPullRequest,
    Person,
    PullRequest,
    Way,
)
from cloister.model.image import BuildProgress, Image
from cloister.model.instructions import Restored
from cloister.model.model_access import ModelApi
from cloister.model.network import EgressTold, NetworkPolicy
from cloister.model.pack import Pack, PackRecipe
from cloister.model.phase import Phase
from cloister.model.project import ProjectFiles
from cloister.model.publication import BranchDraft, Composed, Publication
from cloister.model.record import Signature, SignedRecord
from cloister.model.request_key import KeptRequest, RequestKey
from cloister.model.residue import Residue
from cloister.model.sandbox import (
    Change,
    Checkout,
    Chunk,
    Command,
    Commit,
    Exit,
    ImageDigest,
    SandboxName,
    SandboxSpec,
)
from cloister.model.schedule import Schedule, ScheduledRun
from cloister.model.secret import BrokerRule, DeliveredSecrets, Grant, KeptSecret, SecretValue
from cloister.model.session import Session, SessionId
from cloister.model.snapshot import CheckedDisk, SnapshotKey, SnapshotRecord
from cloister.model.snapshot_export import Export
from cloister.model.stored_environment import StoredEnvironment
from cloister.model.task import Attempt, AttemptId, FollowUp, Outcome, Repository, Revision, Task, TaskId, TaskStatus
from cloister.model.task_filter import EVERY_TASK, TaskFilter
from cloister.model.token import Role, Token, TokenId
from cloister.model.user import Identity, User, UserId
from cloister.model.webhook import Delivery, DeliveryId, DueDelivery, Webhook, WebhookId
from cloister.model.worker import Worker


class Process(Protocol):
    """One container's process tree. It outlives us: a supervisor outside our process watches it."""

    def output(self, offset: int = 0) -> AsyncIterator[Chunk]:
        """Yield what it printed from `offset` (a former chunk's `end`) until it has ended and all is read.

        May be called any number of times, also after the end and from another process of ours.
        """
        ...

    async def wait(self) -> Exit:
        """Return how it ended, once it has. Any number of callers. SandboxError when its supervisor was lost."""
        ...

    async def lay(self, name: str, data: bytes) -> None:
        """Add a read-only file to those in /cloister/in, or replace it, while it runs. Harmless when it has ended."""
        ...

    def awake(self) -> AbstractContextManager[None]:
        """As long as the block runs, it waits for somebody outside: `stuck_seconds` begin anew at the end of that."""
        ...

    async def stop(self, grace_seconds: float = 0.0) -> None:
        """Ask it to end (SIGTERM), and after the grace kill its whole tree. Returns when it is dead. Harmless twice."""
        ...


class Terminal(Protocol):
    """A user's end of a program's terminal. What passes is neither masked nor kept: it is the user's own."""

    async def read(self) -> bytes:
        """Return what was written to the terminal next; nothing once the program has ended and all is read."""
        ...

    async def write(self, data: bytes) -> None:
        """Type `data`. What comes after the program's end is lost."""
        ...

    def resize(self, columns: int, rows: int) -> None:
        """Tell the program how large the window is: at first 0 by 0."""
        ...

    def close(self) -> None:
        """Hang up: a program that still runs gets SIGHUP, and soon after it is killed. Harmless twice."""
        ...


class EnteredShell(Terminal, Protocol):
    """A person's shell in a running container, at a terminal of its own; nothing more is read after its end."""

    number: int
    """Counts those who entered that container, from 1."""
    status: int | None
    """How it ended, 0 to 255; 137 when its container ended first, None until then."""


@dataclass(frozen=True, slots=True)
class Listeners:
    """Sockets that listen inside a sandbox's network namespace. The owner closes them."""

    proxy: tuple[int, ...]
    """File descriptors of the HTTP proxy's sockets, one per address family."""
    transparent: tuple[int, ...] = ()
    """Where connections to other addresses than loopback arrive; SO_ORIGINAL_DST tells which."""
    names: tuple[int, ...] = ()
    """Of the name server that answers placeholder addresses: datagram sockets, then listening ones."""
    doors: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    """By loopback port, those that stand for an upstream; see `Grant.door`."""

    def descriptors(self) -> tuple[int, ...]:
        """All of them."""
        doors = (descriptor for of_door in self.doors.values() for descriptor in of_door)
        return (*self.proxy, *self.transparent, *self.names, *doors)


class Sandbox(Protocol):
    """The disk, the network namespace and the limits of one attempt."""

    @property
    def stands_on(self) -> SnapshotKey | None:
        """The saved disk below this one: what it was made from, or was last saved as."""
        ...

    @property
    def catches(self) -> bool:
        """Whether programs that ignore the proxy are led to it, or else reach nothing."""
        ...

    async def checkout(self, checkout: Checkout) -> None:
        """Put the work tree into exactly this state, and draw a line.

        What was written before is no part of a later change. Writes only paths that differ. Tracked files,
        `.git/config` and hooks become what a clean checkout makes them; files that setup left untracked stay.
        Git runs outside the reach of anything in the sandbox. No container may run. TaskFailedError when the
        patch does not apply; RepositoryError when the commit is not in the mirror.
        """
        ...

    async def start(self, command: Command) -> Process:
        """Start `command` in a NEW container on this disk, or attach when a command of that id already runs or ran.

        Nothing survives its first process but the disk. SandboxError when the container cannot be made.
        With a terminal it waits a minute for a user; `Process.output` then has nothing of it.
        """
        ...

    def has_started(self, command: str) -> bool:
        """Whether a command of that id runs or ran here: a restarted worker then goes on behind it."""
        ...

    async def find_residue(self, values: Mapping[str, SecretValue]) -> Sequence[Residue]:
        """Search what was written since the last checkout for these values, in all their forms; sorted by path.

        Names of files, targets of links, attributes, and what is packed one level deep count too. Takes bounded memory.
        No container may run. SandboxError when it cannot be done, TaskFailedError when it takes too long: then nothing
        is known.
        """
        ...

    async def scrub(self, values: Mapping[str, SecretValue], found: Sequence[Residue]) -> Sequence[Residue]:
        """Take the values out of what `find_residue` found, where that breaks nothing, and return what still has one.

        A small text file is rewritten, a file of a cache that its tool fills again is removed, and so is an attribute;
        everything else stays as it is. No container may run.
        """
        ...

    async def restore_instructions(self) -> Sequence[Restored]:
        """Undo what was written since the last checkout to files that tell agents what to do, and say what that was.

        They are then as commit and image have them: see `model.instructions`, and the work tree's `.git/config` and
        hooks. A shell's start-up file that leads agents elsewhere is told of (`leads`), and left.
        No container may run. TaskFailedError when more was written than can be looked at.
        """
        ...

    async def changes(self, base: Commit) -> Change:
        """Return what was changed in the work tree since the last checkout, against `base`.

        New, deleted and changed files, modes, symlinks, binaries and submodule pointers, without ignored
        files; computed from the disk outside the agent's reach, executing nothing and reading nothing that
        the work tree points to. No container may run. TaskFailedError when the work tree is not one any more.
        """
        ...

    async def make_shareable(self) -> None:
        """Take out of what was written since the last checkout what no two sandboxes may share.

        Identities, host keys and random seeds of a machine; sockets, pipes and devices. No container may run.
        """
        ...

    async def left_behind(self, change: Change) -> Sequence[str]:
        """Return paths that were written or removed since the last checkout and that `change` does not hold, sorted.

        Outside of the work tree, or ignored in it; the first thousand or so, without caches and logs. No container may
        run.
        """
        ...

    def listeners(self, doors: Collection[int] = ()) -> Listeners:
        """Return new duplicates of the listening sockets inside the namespace, and new ones at the ports `doors`."""
        ...

    async def owner_of(self, connection: Connection) -> Asker | None:
        """Return the process in here that holds the connection now; None when it cannot be found. Never fails.

        Takes milliseconds, however many files the sandbox has open. Any number of callers; a few are served at once.
        """
        ...

    async def snapshot(self, key: SnapshotKey) -> bool:
        """Save the disk as `key`, atomically and in constant time; this sandbox goes on above it.

        No container may run. False when `key` is already kept, or a sandbox stands on a damaged disk of that key: then
        nothing is saved. A damaged one that nothing stands on is replaced. Where the sandbox stands on a saved disk,
        the new one stands on that too. SandboxError when anything ran since the last checkout.
        """
        ...

    async def keep_final_disk(self, key: SnapshotKey) -> SnapshotKey | None:
        """Keep the disk as its agent left it, for follow-ups of the same task; return the snapshot that it stands on.

        A sandbox that is made from it starts with all of that, but for what is below /cloister/out. It is never checked
        out or saved as a snapshot (SandboxError), and has in its change what agents wrote before it too; a sandbox
        beside it has nothing of theirs. Made from a final disk itself, this one's stands on what that one does. What
        was kept under `key` before is replaced. It is a copy: this sandbox stays as it is. No container may run.
        """
        ...

    async def read_file(self, path: str, *, limit_bytes: int) -> bytes | None:
        """Return a regular file below /cloister/out as the sandbox left it, cut at the limit; None when absent.

        Follows no symlink.
        """
        ...

    async def list_files(self, folder: str, *, most: int) -> Sequence[FoundFile]:
        """Return what lies in a folder below /cloister/out and in its folders, sorted by path; empty when absent.

        At most so many, and not what lies deeper than 16 folders. Follows no symlink. No container may run.
        """
        ...

    def tail(self, path: str, over: anyio.Event, *, limit_bytes: int) -> AsyncIterator[bytes]:
        """Yield what a regular file below /cloister/out grows by, until `over` is set and the rest is read.

        Never more than the limit. Follows no symlink. Of a file that is absent, shorter than what was read or no file
        at all, nothing comes until it is otherwise. Never fails. New bytes are seen within a second.
        """
        ...


class SandboxBackend(Protocol):
    """Makes sandboxes on this node: oci, fake."""

    @property
    def runtime(self) -> str:
        """Name and version of what makes its containers."""
        ...

    @property
    def not_enforced(self) -> Sequence[str]:
        """Keys of the environment file that bound nothing on this node, such as `limits.disk`."""
        ...

    async def create(self, name: SandboxName, spec: SandboxSpec) -> Sandbox:
        """Find or create. A found one keeps its disk and its running containers.

        NotFoundError when the image, the snapshot or the sandbox beside it is not on this node, or a final disk stands
        on another image; SandboxError when that is another task's; HostError when the host lacks something.
        """
        ...

    async def destroy(self, name: SandboxName) -> None:
        """Kill its containers and remove every trace. Absent is not an error; always safe to repeat."""
        ...

    async def list(self) -> Sequence[SandboxName]:
        """Every sandbox on this node, also half-made ones, so that strays can be found."""
        ...

    async def open_terminal(self, name: SandboxName, command: str) -> Terminal:
        """Return the terminal of a command that runs in that sandbox, whichever process of ours started it.

        It is given away once: when its holder closes it, or dies, the program is hung up. ConflictError when somebody
        had it before; NotFoundError when no such command with a terminal runs.
        """
        ...

    async def enter(self, name: SandboxName, *, terminal: str) -> EnteredShell:
        """Start a shell in the container of that sandbox in which an agent runs, whichever process of ours started it.

        One more process of that container: its namespaces, limits, variables and capabilities, with `terminal` as
        TERM. It is noted among the chunks of the agent's command that somebody came, and went. Whoever closes the
        terminal, or dies, hangs it up; with the container it is killed. NotFoundError when no agent runs there, or
        `Command.shell` lets nobody in.
        """
        ...

    async def has_snapshot(self, key: SnapshotKey) -> bool:
        """Whether a complete, usable disk of that key is kept here."""
        ...

    async def flaw_of_snapshot(self, key: SnapshotKey) -> str | None:
        """Say in a few words why there is no usable disk of that key: `its disk is gone`. None when there is one."""
        ...

    async def snapshots(self) -> Sequence[SnapshotKey]:
        """Every disk that is kept here, also one that cannot be used."""
        ...

    async def size_of_snapshot(self, key: SnapshotKey) -> int | None:
        """Bytes that its disk takes, without those below it; counted once it is kept, and None until that is done."""
        ...

    async def digest_of_snapshot(self, key: SnapshotKey) -> str | None:
        """SHA-256 of its disk and those below; computed once it is kept, and None until that is done, or if it cannot.

        Of every name, byte, mode, owner and attribute. Of a disk that was merged meanwhile it is another one.
        """
        ...

    async def check_snapshot(self, key: SnapshotKey) -> Sequence[CheckedDisk]:
        """Read its disk and those below, topmost first, to tell whether they are what was kept.

        NotFoundError when it is not here; SandboxError when it cannot be read.
        """
        ...

    async def remove_snapshot(self, key: SnapshotKey) -> None:
        """Forget it. Absent is not an error; ConflictError while a sandbox, or another snapshot, stands on it."""
        ...

    async def claim_build(self, key: SnapshotKey, *, wait: bool) -> AbstractContextManager[None] | None:
        """Become the only one on this node, in all its processes, who makes the disk of `key`, until the context ends.

        The context must be entered at once; it ends with our process too, however that ends. While another one has the
        claim: None, or with `wait` return when it is ours. Look again then, because the disk may be there.
        """
        ...


class ImageStore(Protocol):
    """Base root file systems on this node, by name and digest."""

    async def ensure(self, name: str) -> ImageDigest:
        """Return the digest of the image `name`, building its recipe first when it was never built.

        `name` may be the reference of an image that was pulled; NotFoundError when it was not.

        Concurrent callers, in this and other processes, build once. NotFoundError names the known recipes.
        """
        ...

    async def find(self, name: str) -> ImageDigest | None:
        """Return what `ensure` would without building; None when it would have to build, or knows no such name."""
        ...

    async def names(self) -> Sequence[str]:
        """Every name that `ensure` accepts, built or not, sorted."""
        ...

    async def describe(self, digest: ImageDigest) -> Image:
        """What is known of an image. NotFoundError when it is not whole on this node."""
        ...


class ImageKeeper(ImageStore, Protocol):
    """An image store that is told what to keep."""

    async def build(self, name: str, progress: Callable[[BuildProgress], None]) -> Image:
        """Build a recipe anew, from today's packages; what was built before stays usable by its digest.

        NotFoundError names the known recipes; SandboxError, and then nothing has changed.
        """
        ...

    async def pull(self, text: str, progress: Callable[[BuildProgress], None]) -> Image:
        """Pull what a reference stands for now. UsageError when it is none; SandboxError, and nothing has changed."""
        ...

    async def list(self) -> Sequence[Image]:
        """Every whole image, newest first."""
        ...

    async def look_up(self, name_or_digest: str) -> Image:
        """Return an image, by name or by a unique beginning of its digest. NotFoundError, ConflictError."""
        ...

    async def remove(self, name_or_digest: str, *, in_use: Callable[[ImageDigest], bool]) -> None:
        """Forget an image. Errors as of `look_up`; ConflictError when `in_use` says that something stands on it."""
        ...


class SnapshotExporter(Protocol):
    """Pushes what setup left to registries."""

    async def export(self, export: Export, report: Callable[[BuildProgress], None]) -> str:
        """Push the image, and return its digest in the registry. The snapshot cannot be removed meanwhile.

        UsageError for a reference by digest; NotFoundError when snapshot or image are not here; SandboxError.
        """
        ...


FindAsker = Callable[[Connection], Awaitable[Asker | None]]
"""Finds who in a sandbox holds its end of a connection. Never fails."""


class Egress(Protocol):
    """The process that decides who may be reached, and carries the bytes."""

    async def open(
        self,
        name: SandboxName,
        listeners: Listeners,
        policy: NetworkPolicy,
        report: Callable[[EgressTold], None],
        grants: Sequence[Grant] = (),
        find_asker: FindAsker | None = None,
    ) -> None:
        """Serve these sockets under `policy` and `grants`; REPLACES what was open, and cuts what is no longer allowed.

        Takes the listeners over, also when it fails. `report` is called in our event loop for every decision, and
        when what was allowed is over. Who asked is looked for with `find_asker`, for a moment, and shown as it says.
        Returns when the policy is in force; until then, and whenever the process is down, nothing gets out.
        EgressError when the policy cannot be one, or cannot be put in force.
        """
        ...

    async def close(self, name: SandboxName) -> None:
        """Cut everything that is open, and forget the listeners. Absent is not an error."""
        ...


class AgentParser(Protocol):
    """Reads what one run of an agent prints on standard output. It never fails: bytes of a sandbox are its input.

    What it does not understand is a `Plain` report, so that nothing is lost.
    """

    def feed(self, line: str) -> Sequence[AgentReport]:
        """Return what a line says, which comes without its end. Lines are fed in order, each once."""
        ...

    def close(self) -> Sequence[AgentReport]:
        """Return what is left to say: there are no more lines."""
        ...


class Agent(Protocol):
    """A program that does the work."""

    @property
    def name(self) -> str:
        """What users and environments call it."""
        ...

    @property
    def api(self) -> ModelApi | None:
        """The protocol in which it talks to a model: a turn has an access then. None for one that needs none."""
        ...

    @property
    def pack(self) -> PackRecipe | None:
        """What has to be installed on the node for it; None for one that takes what the image has."""
        ...

    def command(self, turn: AgentTurn) -> AgentCommand:
        """Return the program to run in the sandbox, at the work tree. UsageError when the task lacks what it needs.

        The same turn is always the same program.
        """
        ...

    def parser(self) -> AgentParser | None:
        """A new parser for one run's standard output; None when that is plain output and nothing else."""
        ...


class AgentPacks(Protocol):
    """What was installed for agents on this node."""

    async def install(self, recipe: PackRecipe, report: Callable[[BuildProgress], None]) -> Pack:
        """Fetch and make the recipe's pack, and let it be the one of its agent. No code of its packages is run.

        Sandboxes that see a former pack of that agent go on seeing it. HostError when the host lacks a program,
        SandboxError with the last lines of a client that failed, DiskFullError.
        """
        ...

    async def find(self, name: str) -> Pack | None:
        """Return the installed pack of an agent."""
        ...

    def held(self, pack: Pack) -> AbstractContextManager[None]:
        """Keep it where it is until the block ends: nobody removes it meanwhile. NotFoundError when it has gone."""
        ...

    async def remove(self, name: str) -> None:
        """Forget an agent's pack. NotFoundError when there is none; ConflictError while it is held or seen."""
        ...


class Forge(Protocol):
    """Where repositories live."""

    async def resolve(self, repository: Repository, ref: str | None) -> Revision:
        """Bring the repository's mirror up to date and pin `ref`.

        A ref is a branch, tag, full or short commit; None is the default branch. Concurrent calls for one
        repository fetch once. A commit that only branches of Cloister's own have is foreign; a default branch that is
        so is a UsageError. NotFoundError when the repository or the ref does not exist or has no commit;
        RepositoryError when it cannot be reached.
        """
        ...

    async def take_bundle(self, repository: Repository, bundle: AsyncIterable[bytes], *, head: str | None) -> None:
        """Let a repository at a bundle's address be what this git bundle holds, with `head` as its default branch.

        UsageError when it is none, is not whole, or has no such branch; NotFoundError when it is empty. Nothing has
        changed then.
        """
        ...

    async def mirror(self, repository: Repository, commit: Commit) -> Path:
        """Return the bare mirror on this node with `commit` in it, fetching it only when it is not."""
        ...

    async def read_file(self, repository: Repository, commit: Commit, path: str) -> bytes | None:
        """Return a file of that commit, from the mirror; None when there is no such regular file."""
        ...

    async def find_files(self, repository: Repository, commit: Commit, paths: Sequence[str]) -> Sequence[str]:
        """Return the paths of the regular files of that commit that are one of `paths`, or below one that is a folder.

        Sorted, from the mirror; at most 1,000. Nothing in `paths` is a pattern.
        """
        ...

    async def project_files(self, repository: Repository, commit: Commit) -> ProjectFiles:
        """Return the manifests and lock files of that commit, from the mirror. RepositoryError without the commit."""
        ...

    async def note(self, repository: Repository) -> str | None:
        """Say what of a local repository is no part of a task, such as uncommitted work; None when there is nothing.

        Executes nothing that the repository's own configuration names.
        """
        ...


class ForgeHost(Protocol):
    """What a forge has beside git. RepositoryError when it refuses, UnreachableError when it does not answer.

    NotFoundError for what is not there, or not shown to Cloister's login; UsageError without a login.
    """

    def covers(self, repository: Repository) -> bool:
        """Whether that repository is at this forge."""
        ...

    async def way_to(self, repository: Repository, *, push: bool = False, workflows: bool = False) -> Way:
        """Return how git gets there: without a login where Cloister has none, and for other hosts.

        What is short-lived lasts for minutes. To push changes of the forge's own workflows has to be asked for.
        """
        ...

    async def describe(self, repository: Repository) -> ForgeRepository:
        """Return what the forge knows of a repository, whatever it was called before."""
        ...

    async def repositories(self) -> Sequence[ForgeRepository]:
        """Those that Cloister's login may use, the first thousand."""
        ...

    async def branches(self, repository: Repository) -> Sequence[ForgeBranch]:
        """The branches of a repository, the first thousand."""
        ...

    async def author(self) -> Person:
        """Who commits are by: Cloister's login."""
        ...

    async def find_pull_request(self, repository: Repository, branch: str) -> PullRequest | None:
        """Return the open pull request of that branch, else the newest."""
        ...

    async def open_pull_request(self, repository: Repository, new: NewPullRequest) -> PullRequest:
        """Open one. Repeatable: an open one of that branch is returned as it is, and none is made beside it."""
        ...

    async def update_pull_request(
        self, repository: Repository, number: int, *, title: str | None = None, body: str | None = None
    ) -> PullRequest:
        """Replace its title, its text, or both."""
        ...

    async def label_pull_request(self, repository: Repository, number: int, labels: Sequence[str]) -> None:
        """Add labels."""
        ...

    async def set_login(self, kind: str, value: str) -> None:
        """Keep what Cloister logs in with, `token` or `key`, sealed. UsageError, with nothing changed, for another."""
        ...

    async def login(self) -> ForgeLogin:
        """Say as whom Cloister is known there, and what is missing."""
        ...


class BranchWriter(Protocol):
    """Makes commits of changes, and pushes them to branches of Cloister's own."""

    async def head(self, repository: Repository, branch: str) -> Commit | None:
        """Return where a branch is at the forge now; None when it is not there."""
        ...

    async def compose(self, repository: Repository, draft: BranchDraft) -> Composed:
        """Make the commits that a branch shall have: real history above the real base. Nothing is pushed.

        The first is on the newest of the branch that it is to be merged into, where that merges; a later one is above
        what was pushed before, and has that merged into it. The same draft makes the same commits. ConflictError when
        what was changed since does not fit what was pushed; NotFoundError without that branch.
        """
        ...

    async def push(
        self,
        repository: Repository,
        branch: str,
        commit: Commit,
        *,
        expected: Commit | None,
        default_branch: str,
        workflows: bool = False,
    ) -> None:
        """Push a composed commit to a branch, if that is where it is expected to be (None: absent).

        Repeatable. ConflictError when somebody else pushed; DeniedError for a branch that is not Cloister's own, and
        when the forge refuses; UnreachableError when it did not arrive.
        """
        ...


class PublicationStore(Protocol):
    """What Cloister made of tasks at forges."""

    async def find(self, task: TaskId) -> Publication | None:
        """Return what is known of a task's branch and pull request."""
        ...

    async def save(self, publication: Publication, at: datetime, events: Sequence[Event] = ()) -> None:
        """Keep it in place of what was known, with these events of the task; synced to disk when this returns."""
        ...


class Vault(Protocol):
    """Sealed secrets, by environment."""

    async def set(self, environment: str, name: str, value: str, rule: BrokerRule | None = None) -> None:
        """Keep a value; with a rule, for the proxy alone.

        UsageError when name, value or rule cannot be one; nothing is changed then.
        """
        ...

    async def list(self, environment: str) -> Sequence[KeptSecret]:
        """What is kept, by name, without the values."""
        ...

    async def find(self, environment: str, name: str) -> SecretValue | None:
        """Open one value, for the installation itself; None when nothing is kept under that name."""
        ...

    async def remove(self, environment: str, name: str) -> None:
        """Forget a value. NotFoundError when there is none."""
        ...

    async def seal_for_task(self, values: Mapping[str, str]) -> bytes:
        """Seal values that came with one request. UsageError as for `set`."""
        ...

    def redactor(self, secrets: DeliveredSecrets) -> "Redactor":
        """Return a new masker of these values, for one stream."""
        ...

    async def versions(self, environment: Environment) -> Mapping[str, str]:
        """Return the versions that `open_for` would for a task that brings no values, opening none. Errors as there."""
        ...

    async def open_for(self, task: Task) -> DeliveredSecrets:
        """Open the secrets that the task's environment names, and those that came with the task.

        The rule of a brokered one is the vault's, narrowed by the environment; UsageError when it asks for more.
        NotFoundError names a secret that has no value, and the command that gives it one.
        """
        ...

    async def rotate_key(self) -> int:
        """Wrap every sealed value anew, under a new master key, and return how many there were.

        What was sealed before, or is being sealed meanwhile by this or another process, opens before, during and
        after. ConflictError when the key was replaced a moment ago: what is being sealed could be left behind.
        """
        ...

    async def sign(self, message: bytes) -> Signature:
        """Sign with the installation's key for records, which is made when it is first used. VaultError."""
        ...

    async def public_key(self) -> str:
        """Return what verifies those signatures, as PEM (SubjectPublicKeyInfo). VaultError."""
        ...


class Redactor(Protocol):
    """Masks secret values in one stream of bytes, also where a value is cut by a chunk border."""

    def feed(self, data: bytes) -> bytes:
        """Return what can be shown by now; holds back at most the longest value's length."""
        ...

    def flush(self) -> bytes:
        """Return what was held back; the stream is over."""
        ...

    @property
    def held_bytes(self) -> int:
        """How much is held back now. A new masker that starts behind it could not know a value cut there."""
        ...


class AttemptQueue(Protocol):
    """Attempts that wait for a worker, and what workers write about them.

    Every write is fenced: LeaseLostError when `attempt.retry` is not the newest or the attempt is over, and
    nothing is written.
    """

    async def submit(self, task: Task, notes: Sequence[str] = (), key: RequestKey | None = None) -> None:
        """Accept the task and its attempts, with the event `task_accepted`. Synced to disk when this returns.

        With a key, it stands for this request from then on, see `TaskStore.find_request`; UnderWayError when it stands
        for one already.
        """
        ...

    async def follow_up(
        self, task: TaskId, turn: FollowUp, notes: Sequence[str] = (), key: RequestKey | None = None
    ) -> None:
        """Accept one more turn and its attempts, with the event `turn_accepted`. Synced to disk when this returns.

        The task is then where this turn is. ConflictError unless its last turn is over and has the number before this
        one's, so that of several callers one succeeds; NotFoundError when there is no such task. A key as for `submit`.
        """
        ...

    async def workers(self) -> Sequence[Worker]:
        """Those that live, with the attempts that they hold, by name."""
        ...

    async def claim(self, task: TaskId | None = None) -> Attempt | None:
        """Take the oldest attempt whose worker died (`retry` is counted up), else the one whose turn it is.

        Users take turns, and priorities go first, as `fairness.choose_lane` says. None when none waits, or when limits
        of what may run at once hold back all that do. With `task`, only attempts of that one.
        """
        ...

    async def claim_unowned(self) -> Attempt | None:
        """Take an attempt whose worker died; one that waits too, when no other worker lives that could take it."""
        ...

    async def wait_for_work(self) -> None:
        """Return when `claim` may find something; may return early."""
        ...

    async def renew(self, attempt: Attempt) -> bool:
        """Keep the lease. False when the attempt shall be cancelled."""
        ...

    async def cancellation(self, attempt: Attempt) -> Cancellation:
        """Return how the attempt shall be cancelled, as it was asked for last."""
        ...

    async def record(self, attempt: Attempt, phase: Phase | None, *events: Event) -> None:
        """Append to the task's log, in order. May return before it is on disk; `finish` makes sure of it.

        The events of one call are written all at once, or not at all. What is found out after it returned (a lost
        lease, a full disk) is raised by a later call. Events whose call raised anything but LeaseLostError are kept
        all the same, and written later.
        """
        ...

    async def output_offset(self, attempt: Attempt, command: str) -> int:
        """Where what was recorded of that command ends, so that a re-attached reader does not record it twice.

        The largest offset of its events, see `Event.read_to`; 0 when there is none.
        """
        ...

    async def told(self, attempt: Attempt) -> Sequence[RecordedEvent]:
        """Return the attempt's log so far, with what `record` was given a moment ago, and without output."""
        ...

    async def finish(
        self, attempt: Attempt, outcome: Outcome, record: SignedRecord | RecordMissed | None = None
    ) -> None:
        """End the attempt, and with the last one the task, with their events. Synced to disk when this returns.

        When its cancellation was asked for before, it ends as cancelled, whatever the outcome says. The record for
        its verdict is kept with it, or the event that says why there is none: both are written, or neither.
        """
        ...


class TaskStore(Protocol):
    """What users ask about tasks. NotFoundError for an unknown id; a unique prefix of an id will do."""

    async def get(self, task: str) -> TaskStatus:
        """The task and its attempts."""
        ...

    async def list(
        self, *, limit: int = 50, before: TaskId | None = None, only: TaskFilter = EVERY_TASK
    ) -> Sequence[TaskStatus]:
        """The newest tasks, newest first; their patches and diffs are left out (empty).

        Only those that were accepted before the task `before` (NotFoundError), and that are like `only`.
        """
        ...

    async def set_archived(self, task: TaskId, archived: bool) -> None:
        """Put a task that is over out of sight, or back. Harmless twice; a further turn brings it back too.

        ConflictError for one that is not over and shall be archived.
        """
        ...

    def events(
        self,
        task: TaskId,
        *,
        after: int = 0,
        follow: bool = False,
        output: bool = True,
        until: anyio.Event | None = None,
    ) -> AsyncIterator[RecordedEvent]:
        """Yield the task's log from after that `seq`; with `follow` until the task is over, also across processes.

        Or until `until` is set, and all that there is by then is told. Without `output`, what programs printed is left
        out. Whoever reads slowly holds little of the log in memory.
        """
        ...

    async def find_request(self, digest: str, now: datetime) -> KeptRequest | None:
        """Which turn the request of a key made; None when the key is unknown, or was used too long ago."""
        ...

    async def last_seq(self, task: TaskId) -> int:
        """The `seq` of the newest event of the task's log. NotFoundError."""
        ...

    async def find_record(self, attempt: AttemptId) -> bytes | None:
        """The signed record of an attempt, as it was given to `finish`; None when it has none."""
        ...

    async def cancel(
        self, task: TaskId, attempt: AttemptId | None = None, cancellation: Cancellation = AT_ONCE
    ) -> None:
        """Ask for the end of every attempt that is not over, or of that one; those that no worker took end at once.

        Harmless twice. How is said by whoever asks last.
        """
        ...

    async def live_sandboxes(self) -> Sequence[SandboxName]:
        """Sandboxes of attempts that are not over; every other one on this node is a stray."""
        ...


class FileStore(Protocol):
    """Files that are kept on this node for a task or an attempt of it, by an owner's name and their own.

    Names are letters, digits and `. _ -`, and begin with one of the first two.
    """

    async def keep(self, owner: str, files: Mapping[str, bytes], *, with_those_of: str | None = None) -> None:
        """Keep these, all or none, in place of what the owner had; with another owner's, which are not changed.

        StoreError; DiskFullError.
        """
        ...

    def append(self, owner: str, name: str, data: bytes) -> None:
        """Add to a file that is kept as it grows: each piece is there at once. StoreError; DiskFullError."""
        ...

    async def read(self, owner: str, name: str) -> bytes:
        """Return a file. NotFoundError when it is not here."""
        ...

    def folder(self, owner: str) -> Path | None:
        """Return where an owner's files lie, readable to everybody who gets there; None when it has none here."""
        ...

    async def owners(self, *, before: datetime | None = None) -> Sequence[str]:
        """Everybody who has files here, sorted; with `before`, those whose newest file was kept before that."""
        ...

    async def remove(self, owner: str) -> None:
        """Forget an owner's files. Absent is not an error."""
        ...


class SnapshotCatalog(Protocol):
    """What is known of kept snapshots. The disks themselves are the backend's."""

    async def find_newest(self, environment: str, repository: str, *, ref: str | None = None) -> SnapshotRecord | None:
        """The newest record of that pair that all refs share, or is that ref's own; expired ones included.

        Never that of an attempt's final disk.
        """
        ...

    async def find(self, key: SnapshotKey) -> SnapshotRecord | None:
        """The record of that key."""
        ...

    async def add(self, record: SnapshotRecord) -> None:
        """Remember, or replace what was remembered under that key."""
        ...

    async def mark_used(self, keys: Collection[SnapshotKey], at: datetime) -> None:
        """Remember when they were used. Absent is not an error."""
        ...

    async def set_size(self, key: SnapshotKey, size_bytes: int) -> None:
        """Remember how large it is. Absent is not an error."""
        ...

    async def remove(self, key: SnapshotKey) -> None:
        """Forget. Absent is not an error."""
        ...

    async def list(self) -> Sequence[SnapshotRecord]:
        """All, newest first."""
        ...


class EnvironmentStore(Protocol):
    """Stored environments. A version never changes; those of a deleted name stay readable."""

    async def add(
        self, name: str, text: str, *, origin: str, created_at: datetime, after: int | None
    ) -> StoredEnvironment:
        """Store the next version; synced to disk when this returns.

        `after` is the newest version that the caller knows, None when there is to be none that is not deleted.
        ConflictError when that is not so; of concurrent callers who know the same, one succeeds. Versions count from
        1, and go on when a deleted name comes back.
        """
        ...

    async def find(self, name: str, version: int | None = None) -> StoredEnvironment | None:
        """That version, deleted or not; without one the newest, and None when the name is deleted."""
        ...

    async def list(self) -> Sequence[StoredEnvironment]:
        """The newest version of every name that is not deleted, by name."""
        ...

    async def versions(self, name: str) -> Sequence[StoredEnvironment]:
        """Every version of a name, newest first, also when it is deleted."""
        ...

    async def delete(self, name: str, *, deleted_at: datetime) -> bool:
        """Take the name out of use; synced to disk when this returns. False when it is not in use."""
        ...


class TokenStore(Protocol):
    """Tokens by the digest of what their holders send."""

    async def add(self, token: Token, digest: str) -> None:
        """Keep a new token; synced to disk when this returns."""
        ...

    async def find(self, digest: str) -> Token | None:
        """The token of that digest, valid or not."""
        ...

    async def get(self, token: TokenId) -> Token | None:
        """The token of that id, valid or not."""
        ...

    async def list(self) -> Sequence[Token]:
        """All, newest first."""
        ...

    async def revoke(self, token: TokenId, at: datetime) -> Token | None:
        """Revoke, synced, unless it was revoked before, and return it; None when there is none of that id."""
        ...

    async def mark_used(self, token: TokenId, at: datetime) -> None:
        """Remember when it was last used. Absent is not an error."""
        ...


class SessionStore(Protocol):
    """Sessions of browsers by the digest of what those send."""

    async def add(self, session: Session, digest: str) -> None:
        """Keep a new session."""
        ...

    async def find(self, digest: str) -> Session | None:
        """The session of that digest, valid or not."""
        ...

    async def get(self, session: SessionId) -> Session | None:
        """The session of that id, valid or not."""
        ...

    async def list(self) -> Sequence[Session]:
        """All, newest first, valid or not."""
        ...

    async def remove(self, session: SessionId) -> Session | None:
        """Forget it, synced, and return it; None when there is none of that id."""
        ...

    async def remove_expired(self, now: datetime) -> None:
        """Forget those that ended by then."""
        ...

    async def mark_used(self, session: SessionId, at: datetime) -> None:
        """Remember when it was last used. Absent is not an error."""
        ...


class AuditStore(Protocol):
    """Entries of the audit, which are only ever added to."""

    async def add(self, entry: AuditEntry) -> None:
        """Keep it; its number is given to it."""
        ...

    async def list(self, wanted: AuditFilter, *, limit: int, before: int | None = None) -> Sequence[AuditEntry]:
        """The newest that are wanted, newest first; only those with a number below `before`."""
        ...


class ScheduleStore(Protocol):
    """Schedules, and the times at which they were due. Every change is synced to disk when its method returns."""

    async def add(self, schedule: Schedule) -> None:
        """Keep a new one. ConflictError when its name is in use; UsageError for text that is not valid Unicode."""
        ...

    async def list(self) -> Sequence[Schedule]:
        """All, by name."""
        ...

    async def remove(self, name: str) -> None:
        """Forget it with its runs. Absent is not an error."""
        ...

    async def set_next(self, name: str, next_at: datetime | None) -> None:
        """Say when it is due next; None pauses it. Absent is not an error."""
        ...

    async def begin(self, run: ScheduledRun, *, due_at: datetime, next_at: datetime) -> bool:
        """Note a run, and that its schedule, due at `due_at` so far, is due next at `next_at`.

        False, and nothing is changed, when the schedule is not due then (any more): of several callers one succeeds.
        """
        ...

    async def finish(self, run: ScheduledRun) -> None:
        """Note the task of a run, or why there is none. One that has a task keeps it."""
        ...

    async def unfinished(self) -> Sequence[ScheduledRun]:
        """Runs with neither a task nor a reason, oldest first."""
        ...

    async def runs(self, name: str) -> Sequence[ScheduledRun]:
        """The runs of a schedule, newest first; the last hundred of them."""
        ...


class UserStore(Protocol):
    """People whom a provider knows, by issuer and subject."""

    async def note(self, issuer: str, subject: str, *, name: str, role: Role, at: datetime) -> User:
        """Remember a login of theirs, synced, and what they are called and may do since; return them."""
        ...

    async def get(self, user: UserId) -> User | None:
        """The user of that id, disabled or not."""
        ...

    async def list(self) -> Sequence[User]:
        """All, by name."""
        ...

    async def set_disabled(self, user: UserId, at: datetime | None) -> User | None:
        """Disable since then, or with None not any more; synced. None when there is none of that id."""
        ...


class IdentityProvider(Protocol):
    """Who says who somebody is. `state`, `nonce` and `verifier` are of one login, and of nobody else's."""

    async def authorization_url(self, *, redirect_uri: str, state: str, nonce: str, verifier: str) -> str:
        """Where a browser is sent to log in. UnreachableError; UnauthenticatedError for what is not to be believed."""
        ...

    async def identify(self, *, code: str, redirect_uri: str, nonce: str, verifier: str) -> Identity:
        """Whom the code that it came back with is about. Errors as above."""
        ...


class WebhookStore(Protocol):
    """Webhooks, and the messages to them. A message is queued with the event that it tells of, or neither is kept."""

    async def add(self, webhook: Webhook) -> None:
        """Keep a new one; synced to disk when this returns. It is told of what happens from then on."""
        ...

    async def list(self) -> Sequence[Webhook]:
        """All, oldest first."""
        ...

    async def change(self, webhook: Webhook) -> None:
        """Replace the one of that id; synced. Absent is not an error."""
        ...

    async def remove(self, webhook: WebhookId) -> None:
        """Forget it with its messages; synced. Absent is not an error."""
        ...

    async def due(self, now: datetime, *, limit: int) -> Sequence[DueDelivery]:
        """Messages to be tried by now, of webhooks that are not paused, those that waited longest first."""
        ...

    async def claim(self, delivery: Delivery, until: datetime) -> bool:
        """Count a trial, and let nobody else try before `until`; False when somebody else did: of several one may."""
        ...

    async def keep(self, delivery: Delivery) -> None:
        """Add or replace a message, synced; of each webhook's that are over, the last 200 are kept."""
        ...

    async def deliveries(self, webhook: WebhookId, *, limit: int) -> Sequence[Delivery]:
        """Its newest messages, newest first."""
        ...

    async def get(self, delivery: DeliveryId) -> Delivery:
        """One message. NotFoundError."""
        ...


class WebhookSender(Protocol):
    """Reaches receivers, where the rules for addresses let it."""

    async def check(self, url: str) -> None:
        """Refuse an address that is none, or where nobody may be reached. UsageError, DeniedError."""
        ...

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """Post, follow no redirect, read nothing of the answer, and return its status.

        The name is looked up once, and an address that was judged is dialled. DeniedError when none may be;
        UnreachableError when nobody answers in time.
        """
        ...
