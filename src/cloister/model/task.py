"""Tasks, turns and attempts: what was asked, how often it was answered, and how that ended."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import NewType

from cloister.model.artifact import Artifact
from cloister.model.check import CheckResult
from cloister.model.environment import Environment
from cloister.model.environment_source import EnvironmentSource
from cloister.model.fairness import OWNER, HeldBy, Priority
from cloister.model.given import GivenFile
from cloister.model.model_usage import UsageTotal
from cloister.model.phase import Phase
from cloister.model.review import Review, ReviewAsk
from cloister.model.sandbox import Change, Commit, SandboxName
from cloister.model.thread_context import words_of
from cloister.model.trace import TraceParent, trace_id_of

TaskId = NewType("TaskId", str)
AttemptId = NewType("AttemptId", str)

CHECK = "check"
"""The agent of a task that only asks whether a repository can be made ready."""
SHELL = "shell"
"""Stands for an agent where a user works in a shell."""
CANCELLED = "cancelled"
"""The reason of an attempt whose end was asked for."""
RECORDING = "recording.cast"
"""What a recording of a person's shell is kept as; see `shell_owner`."""
LARGEST_PROMPT_BYTES = 1024 * 1024
LONGEST_SLUG = 40
"""Characters of a prompt in the name of a branch."""
_WORD = re.compile(r"[a-z0-9]+")
OWN_BRANCHES = "cloister/"
"""Begins the names of the branches that Cloister pushes; see `Task.branch`."""


def artifacts_owner(attempt: AttemptId) -> str:
    """Whose files in the store an attempt's artifacts are."""
    return f"{attempt}.artifacts"


def shell_owner(attempt: AttemptId, number: int) -> str:
    """Whose file in the store the recording is of a person's shell in that attempt."""
    return f"{attempt}.shell-{number}"


def given_owner(task: TaskId, mark: str = "") -> str:
    """Whose files in the store those are that came with a prompt; a follow-up's has a `mark` of its own.

    Two who follow up at once have two, of which one is forgotten.
    """
    return f"{task}.given-{mark}" if mark else f"{task}.given"


def task_of_given(owner: str) -> TaskId | None:
    """Return whose prompt's files those are; None for other owners."""
    task, _, what = owner.partition(".")
    return TaskId(task) if what.partition("-")[0] == "given" else None


class Verdict(StrEnum):
    """How an attempt, or a task, ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    """The task's own doing."""
    ERRORED = "errored"
    """Ours; the same task may well succeed another time."""
    CANCELLED = "cancelled"


_BEST_FIRST = (Verdict.SUCCEEDED, Verdict.FAILED, Verdict.CANCELLED, Verdict.ERRORED)


def best_verdict(verdicts: Iterable[Verdict]) -> Verdict:
    """Return a task's verdict, the best of its attempts'. Raises ValueError when there are none."""
    return min(verdicts, key=_BEST_FIRST.index)


class TaskState(StrEnum):
    """Where a task is."""

    QUEUED = "queued"
    RUNNING = "running"
    FINISHED = "finished"


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """A repository by address, and the name of its folder in a sandbox."""

    address: str
    """As git reads it, without credentials: an absolute path, or a file, http or https URL."""
    directory: str
    """Name of the work tree's folder below /workspace."""
    guarded: bool = False
    """Whether a caller from elsewhere named it: then it is at a public address, or where settings let it be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """A place in a repository, pinned when the task was accepted."""

    ref: str
    """What was asked for: branch, tag or commit; the default branch when nothing was."""
    commit: Commit
    default_branch: str
    default_commit: Commit
    """Setup of a cold environment runs here."""
    foreign: bool = False
    """Only branches that Cloister pushed have the commit: an agent wrote it, and no person took it over. As with a
    fork, no secret and no network of setup meets it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell:
    """A shell that a user asks for."""

    phase: Phase
    """In the state, with the network and the secrets of this one: setup or agent."""
    terminal: str
    """What TERM says of the user's terminal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What was asked, with everything needed to answer it pinned."""

    id: TaskId
    repository: Repository
    revision: Revision
    environment: Environment
    environment_source: EnvironmentSource | None = None
    """None in tasks that were accepted before it was kept."""
    prompt: str
    agent: str
    """Name of the agent; `command` for a plain command line, `check` and `shell` for what needs none."""
    command: str | None = None
    """The command line of the agent `command`."""
    patch: bytes = b""
    """A starting diff."""
    shell: Shell | None = None
    """A shell for the user, in place of an agent."""
    ask: bool = False
    """An answer is wanted, and no change: the agent cannot write to the work tree, and no check runs."""
    review: ReviewAsk | None = None
    """What is to be reviewed; then it asks, too."""
    files: tuple[GivenFile, ...] = ()
    """What came with the first prompt; see `given_owner`."""
    use_cache: bool = True
    sealed_secrets: bytes | None = field(default=None, repr=False)
    """Values that came with the request, sealed for this task alone."""
    attempts: int = 1
    accepted_at: datetime
    trace_parent: TraceParent | None = None
    """The span of somebody else's that asked for it."""
    asked_by: str = OWNER
    """Name of the caller, as the queue's turns go by it."""
    priority: Priority = Priority.NORMAL

    @property
    def trace_id(self) -> str:
        """Of the trace that it is in, whether anybody keeps that or not."""
        return self.trace_parent.trace_id if self.trace_parent else trace_id_of(self.id)

    @property
    def environment_version(self) -> int | None:
        """Of a stored environment."""
        return self.environment_source.version if self.environment_source else None

    @property
    def branch(self) -> str:
        """The only branch that this task may ever push: it tells what is asked, in letters that need no quoting."""
        slug = "-".join(_WORD.findall(words_of(self.prompt).lower()))[:LONGEST_SLUG].strip("-")
        return f"{OWN_BRANCHES}{self.id}-{slug}" if slug else f"{OWN_BRANCHES}{self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to write about an attempt. It is void as soon as the attempt has a newer retry, or is over."""

    task: TaskId
    attempt: AttemptId
    retry: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowUp:
    """A turn after the first: one more prompt in a task whose former turn is over."""

    number: int
    """Of the turn: 2 for the first follow-up. Of two who ask for the same number, one gets it."""
    prompt: str
    continues: AttemptId
    """The attempt of an earlier turn whose disk, change and conversation it goes on from."""
    attempts: int = 1
    files: tuple[GivenFile, ...] = ()
    """What came with its prompt."""
    given: str | None = None
    """Whose files those are, with what came with former prompts; None when nothing came. See `given_owner`."""
    accepted_at: datetime
    asked_by: str = OWNER
    """As of a task; the priority is the task's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """A former prompt, and what the attempt that is gone on from answered."""

    prompt: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Continuation:
    """What an attempt of a later turn goes on from."""

    attempt: AttemptId
    prompt: str
    """What is asked now."""
    files: tuple[GivenFile, ...] = ()
    """What came with that prompt."""
    given: str | None = None
    """Whose files all are that came with this prompt or a former one, of a follow-up."""
    accepted_at: datetime
    diff: bytes = field(default=b"", repr=False)
    """The change of that attempt, against the task's base."""
    conversation: tuple[Exchange, ...] = ()
    """From the task's first prompt to that attempt's answer."""
    session: str | None = None
    """What the agent called it, which only that attempt's disk remembers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One independent answer to a turn; the unit that a worker claims."""

    id: AttemptId
    task: Task
    turn: int = 1
    number: int = 1
    """1 to the number of attempts of the turn."""
    retry: int = 0
    """How often it was taken over after a failure of ours; fences every write."""
    continues: Continuation | None = None
    """None in a task's first turn."""

    @property
    def prompt(self) -> str:
        """What its turn asks."""
        return self.continues.prompt if self.continues else self.task.prompt

    @property
    def files(self) -> tuple[GivenFile, ...]:
        """What came with the prompt of its turn."""
        return self.continues.files if self.continues else self.task.files

    @property
    def given(self) -> str | None:
        """Whose files all are that came with a prompt of its task by now; None when nothing came."""
        former = given_owner(self.task.id) if self.task.files else None
        return (self.continues.given if self.continues else None) or former

    @property
    def starting_diff(self) -> bytes:
        """What is applied before its agent starts where no disk has it already; an agent may have written it."""
        return self.continues.diff if self.continues else self.task.patch

    @property
    def accepted_at(self) -> datetime:
        """When its turn was accepted."""
        return self.continues.accepted_at if self.continues else self.task.accepted_at

    @property
    def sandbox(self) -> SandboxName:
        """Its sandbox is named after it, so that it can be found again."""
        return SandboxName(self.id)

    @property
    def lease(self) -> Lease:
        """What its worker writes under."""
        return Lease(task=self.task.id, attempt=self.id, retry=self.retry)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How an attempt ended, and what it left."""

    verdict: Verdict
    reason: str = ""
    """For every verdict but success: one sentence, safe to show."""
    hint: str = ""
    """What to do about it, where that can be said."""
    exit_status: int | None = None
    """Of the agent, when it ran."""
    message: str = ""
    """The agent's answer."""
    session: str | None = None
    """What the agent itself calls the conversation, so that it can go on with it on the same disk."""
    change: Change | None = None
    """None when no change could be collected; an empty change is one with an empty diff."""
    review: Review | None = None
    """What the agent of a review found; None where there is nothing that can be used."""
    artifacts: tuple[Artifact, ...] = ()
    """Files that the agent left beside its change; they are kept as `artifacts_owner` says, by their number from 1."""
    checks: tuple[CheckResult, ...] = ()
    """How the environment's checks ended, in their order; none when they were not run."""
    usage: UsageTotal | None = None
    """What the agent's model used, as the proxy counted it; None when it was not called."""
    seconds: Mapping[Phase, float] = field(default_factory=dict)
    """Time spent per phase."""
    accepted_to_agent_seconds: float | None = None
    """From acceptance of the task to the agent's start."""

    def as_cancelled(self) -> "Outcome":
        """Return the same for an attempt whose end was asked for before it had ended; what it left stays."""
        return (
            self
            if self.verdict is Verdict.CANCELLED
            else replace(self, verdict=Verdict.CANCELLED, reason=CANCELLED, hint="")
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptStatus:
    """Where an attempt is."""

    attempt: AttemptId
    number: int
    state: TaskState
    outcome: Outcome | None = None
    queue_position: int | None = None
    """While it waits: about the how-manieth of all that wait it is to start, from 1."""
    held_by: HeldBy | None = None
    """The limit that holds it back while it waits, wherever its place is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One prompt in a task, and where the attempts to answer it are."""

    number: int
    prompt: str
    accepted_at: datetime
    continues: AttemptId | None
    """The attempt of an earlier turn that it goes on from; None for the first."""
    seq: int
    """Place in the task's log of the event that it begins with."""
    files: tuple[GivenFile, ...] = ()
    """What came with its prompt."""
    given: str | None = None
    """See `FollowUp`."""
    attempts: tuple[AttemptStatus, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskPullRequest:
    """Where a task's change was proposed."""

    number: int
    address: str
    """Of its page."""
    branch: str
    base: str
    """Branch that it is to be merged into."""
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskStatus:
    """Where a task is: where its last turn is."""

    task: Task
    state: TaskState
    verdict: Verdict | None
    """Once finished: the best of its attempts' verdicts."""
    finished_at: datetime | None
    attempts: tuple[AttemptStatus, ...]
    """Of the last turn."""
    turns: tuple[Turn, ...] = ()
    """All, oldest first."""
    archived: bool = False
    """Out of sight: left out of lists, unless asked for."""
    pull_request: TaskPullRequest | None = None
    """As Cloister made it last; what became of it since, the forge knows."""

    @property
    def queue_position(self) -> int | None:
        """Of the first of its attempts to start, as long as all wait."""
        if self.state is not TaskState.QUEUED:
            return None
        return min((one.queue_position for one in self.attempts if one.queue_position is not None), default=None)

    @property
    def held_by(self) -> HeldBy | None:
        """The limit that holds back all of its attempts, as long as all wait: they are of one user and environment."""
        if self.state is not TaskState.QUEUED:
            return None
        return next((one.held_by for one in self.attempts), None)

    @property
    def last_turn(self) -> Turn:
        """The one that state, verdict and attempts are of."""
        return self.turns[-1] if self.turns else first_turn(self.task, self.attempts)


def as_accepted(task: Task) -> TaskStatus:
    """Return where a task was when it was accepted."""
    attempts = tuple(
        AttemptStatus(attempt=attempt_id(task.id, 1, number), number=number, state=TaskState.QUEUED, outcome=None)
        for number in range(1, task.attempts + 1)
    )
    return TaskStatus(
        task=task,
        state=TaskState.QUEUED,
        verdict=None,
        finished_at=None,
        attempts=attempts,
        turns=(first_turn(task, attempts),),
    )


def follow_up_of(status: TaskStatus, number: int) -> FollowUp:
    """Return a turn after the first as it was accepted."""
    turn = status.turns[number - 1]
    assert turn.continues is not None, "the first turn goes on from nothing"
    return FollowUp(
        number=number,
        prompt=turn.prompt,
        continues=turn.continues,
        attempts=len(turn.attempts),
        files=turn.files,
        given=turn.given,
        accepted_at=turn.accepted_at,
    )


def first_turn(task: Task, attempts: Iterable[AttemptStatus]) -> Turn:
    """Return the turn that a task begins with."""
    return Turn(
        number=1,
        prompt=task.prompt,
        accepted_at=task.accepted_at,
        continues=None,
        seq=1,
        files=task.files,
        given=given_owner(task.id) if task.files else None,
        attempts=tuple(attempts),
    )


def attempt_id(task: TaskId, turn: int, number: int) -> AttemptId:
    """Return what an attempt is called; its sandbox, and all that is left of it, has that name too."""
    return AttemptId(f"{task}-{turn}-{number}")


def task_of(attempt: AttemptId) -> TaskId:
    """Return whose attempt it is."""
    return TaskId(attempt.rsplit("-", 2)[0])
