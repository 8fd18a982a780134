"""Events: what happened in a task, in the past tense. Each is one line of `--json` and one row of the log.

The catalogue is one module, however long: whoever reads a log looks for a name here, and it is in the order of a task.
"""

import dataclasses
import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

from cloister.model.phase import Phase
from cloister.model.task import AttemptId, Lease, TaskId, Verdict


class AgentEventKind(StrEnum):
    """What an agent may tell."""

    MESSAGE = "message"
    REASONING = "reasoning"
    COMMAND_STARTED = "command_started"
    COMMAND_FINISHED = "command_finished"
    TOOL_USED = "tool_used"
    FILES_CHANGED = "files_changed"
    PLAN_MADE = "plan_made"
    FAILED = "failed"
    SESSION_NAMED = "session_named"
    PLAIN = "plain"
    """A line that was not understood, or that has no kind of its own."""


def _snake_case(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Base of all events. The wire name is the class's name in snake case."""

    by_name: ClassVar[dict[str, type["Event"]]] = {}

    def __init_subclass__(cls) -> None:
        # `dataclass(slots=True)` makes the class twice; the second one, complete, wins.
        Event.by_name[_snake_case(cls.__name__)] = cls

    @property
    def wire_name(self) -> str:
        """`phase_started`, `output`, ..."""
        return _snake_case(type(self).__name__)

    @property
    def read_to(self) -> tuple[str, int] | None:
        """Which stream this was read from, and where reading goes on; None when it was read from none."""
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskAccepted(Event):
    """The task is on disk: from here on it cannot be lost."""

    commit: str
    ref: str
    environment: str
    environment_version: int | None = None
    """Of a stored environment."""
    notes: tuple[str, ...] = ()
    """What the user should know, such as uncommitted work that was left alone."""
    trace: str = ""
    """Id of the trace that it is in (W3C Trace Context)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnAccepted(Event):
    """One more prompt is on disk, in a task whose former turn is over."""

    turn: int
    """Its number; the task's first prompt is turn 1."""
    continues: str
    """The attempt that it goes on from."""
    attempts: int
    notes: tuple[str, ...] = ()
    """What the user should know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptStarted(Event):
    """A worker took the attempt."""

    retry: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseStarted(Event):
    """A phase began."""

    network: str
    """off, limited or full."""
    secrets: tuple[str, ...] = ()
    """Names of the secrets present in the phase."""
    brokered: tuple[str, ...] = ()
    """Names of those that only the proxy has; the sandbox sees placeholders."""
    model: str | None = None
    """Who answers the agent, by the door in its sandbox: the provider, and the model where one is asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseFinished(Event):
    """A phase ended, well or not."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxProvisioned(Event):
    """The sandbox is there. Said again by a worker that takes the attempt over."""

    image: str
    """As the environment names it."""
    image_digest: str
    runtime: str
    """Name and version of what its containers are made with."""
    setup: str | None
    """SHA-256 of the script for a cold disk; this and the next two are null where there is none."""
    maintenance: str | None
    """SHA-256 of the script for a warm one."""
    catch_up: str | None
    """SHA-256 of the script for a commit that declares other dependencies than the default branch."""
    not_enforced: tuple[str, ...] = ()
    """Keys of the environment file that bound nothing on this host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LargeFilesFetched(Event):
    """The repository keeps files as pointers (Git LFS): the work tree has what they point to."""

    files: int
    size: int
    """Bytes of what they point to."""
    left: int
    """Files that stay pointers."""
    reason: str
    """Why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmodulesFetched(Event):
    """The commit has submodules: those that could be had are folders of files in the work tree."""

    there: int
    left: tuple[str, ...]
    """Those that stay empty folders: the path and why, one text each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CatchingMissed(Event):
    """Programs that ignore the proxy cannot be caught on this host: in this attempt they reach nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotHit(Event):
    """The attempt starts from a saved disk."""

    key: str
    ref: str | None = None
    """Of a disk that is for this ref alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotMissed(Event):
    """The attempt starts from the bare image."""

    key: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalDiskResumed(Event):
    """An attempt of a follow-up starts from the disk that it goes on from: no script of setup runs on that."""

    key: str
    continues: str
    """Whose disk it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalDiskMissed(Event):
    """That disk is not there: the attempt starts from a snapshot or the image, and the former change is applied."""

    continues: str
    """Whose disk it was."""
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalDiskKept(Event):
    """The disk that the agent left was kept for follow-ups of its task."""

    key: str
    expires_at: str
    """At the latest, in ISO 8601."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotAwaited(Event):
    """Another attempt was making the disk that this one needs, so it waited; a hit or a miss follows."""

    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetupPlanned(Event):
    """What the scripts of this phase are for: what was detected, and where the task's commit declares others."""

    steps: tuple[str, ...]
    """Of automatic setup: package manager, folder, the file that decided, commands."""
    notes: tuple[str, ...]
    differing: tuple[str, ...]
    """Paths of lock files and manifests that differ from the default branch's; setup or maintenance then runs
    again."""
    versions: tuple[str, ...] = ()
    """Of the image's languages, those that were asked for: language, version, and who asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetupStepStarted(Event):
    """A step of automatic setup begins, as its script itself wrote down, within a second."""

    command: str
    """Id of the command whose script it belongs to."""
    tool: str
    """The package manager; `preparation` for what provides the tools themselves."""
    folder: str
    reason: str
    """The file that decided."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetupStepFinished(Event):
    """A step of automatic setup is over, as its script itself wrote down; the last is told when the script is over."""

    command: str
    """Id of the command whose script it belongs to."""
    tool: str
    """The package manager; `preparation` for what provides the tools themselves."""
    folder: str
    reason: str
    """The file that decided."""
    seconds: float | None
    """None when it was killed, or the script's notes were lost."""
    ok: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ShellOpened(Event):
    """A shell for the user runs, in place of the phase's program. What passes its terminal is not recorded."""

    command: str
    """Id of the command whose terminal it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShellClosed(Event):
    """The user's shell is over, and so is everything that was started in it."""

    status: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonEntered(Event):
    """Somebody opened a shell in the agent's container, beside the agent."""

    shell: int
    """Counts those who entered that container, from 1."""
    command: str
    """Id of the command whose container it is."""
    offset: int
    """Where, in that command's output, reading goes on after this event."""

    @property
    def read_to(self) -> tuple[str, int]:
        """See `Event`."""
        return self.command, self.offset


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonLeft(Event):
    """That shell is over. What was left in the background there goes on until the agent has ended."""

    shell: int
    seconds: float
    command: str
    offset: int

    @property
    def read_to(self) -> tuple[str, int]:
        """See `Event`."""
        return self.command, self.offset


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotSaved(Event):
    """The disk after setup was kept for later attempts."""

    key: str
    ref: str | None = None
    """Of a disk that is for this ref alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotDigested(Event):
    """The digest of the kept disk that the agent's sandbox stands on is known by now. It is computed behind a task."""

    key: str
    digest: str
    """SHA-256, in hexadecimal, of every name, byte, mode, owner and attribute of it and those below."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Output(Event):
    """A program in the sandbox printed something. Secret values are masked."""

    stream: str
    text: str
    command: str
    """Id of the command that printed it."""
    offset: int
    """Where, in that command's output, reading goes on after this event."""
    told: bool = False
    """Whether what it says is in events `agent_event` and `usage` too, a line at a time."""

    @property
    def read_to(self) -> tuple[str, int]:
        """See `Event`."""
        return self.command, self.offset


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentPrompted(Event):
    """The agent was given more than what was asked. Secret values are masked."""

    round: int
    """From 0; each later one tells which checks failed."""
    text: str
    """All that it was given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentEvent(Event):
    """The agent told what it did, in its own output. It is the agent's word. Secret values are masked."""

    kind: AgentEventKind
    text: str = ""
    """Of a message, summary, plan or error; what a command printed; what a tool was given. Cut when it is long."""
    number: int | None = None
    """Of a command: counts those of the attempt, from 1."""
    command_line: str | None = None
    status: int | None = None
    """How a command ended, where the agent says it."""
    paths: tuple[str, ...] = ()
    """Files that were changed."""
    tool: str | None = None
    """Name of a tool that was used."""
    session: str | None = None
    """The id under which the agent can resume the conversation."""
    command: str = ""
    """Id of the command whose output told it."""
    offset: int = 0
    """Where, in that command's output, reading goes on after this event."""

    @property
    def read_to(self) -> tuple[str, int]:
        """See `Event`."""
        return self.command, self.offset


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage(Event):
    """Model calls took tokens."""

    source: str
    """`proxy` when they were counted in the model's own responses; `agent` when the agent says so."""
    input_tokens: int
    """Those of prompts, the cached ones among them."""
    cached_input_tokens: int
    output_tokens: int
    """Those of reasoning among them."""
    cost: float | None = None
    """In US dollars, where it is known."""
    model: str | None = None
    provider: str | None = None
    """Who answered, as the settings call it; null for what the agent says."""
    cache_written_tokens: int = 0
    """Of the input, those that the provider says it put into its cache."""
    estimated: bool = False
    """Whether the provider did not say it, so that it was estimated from what passed."""
    flow: int = 0
    """Of what the proxy counted: number of the request in its attempt; `egress_allowed` has it too."""
    command: str | None = None
    """Id of the command whose output told it; null for what the proxy counted."""
    offset: int = 0
    """Where, in that command's output, reading goes on after this event."""

    @property
    def read_to(self) -> tuple[str, int] | None:
        """See `Event`."""
        return None if self.command is None else (self.command, self.offset)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCallFailed(Event):
    """A provider did not answer a call of its model, or not to the end. The agent was told just so."""

    provider: str
    """As the settings call it."""
    status: int
    """Of the answer; 0 when there was none."""
    reason: str
    """In the provider's words where it had some."""
    retry_after: str = ""
    """What the provider said of when to try again: seconds, or a date."""
    key_refused: bool = False
    """Whether the provider did not take its key: it is not asked again in this attempt."""
    flow: int = 0
    """Number of the request in its attempt; `egress_allowed` has it too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceStarted(Event):
    """A service was started, in the container of a command that waits for it."""

    service: str
    command: str
    """Id of what it was read from, as for `output`."""
    offset: int
    """Where, in that, reading goes on after this event."""

    @property
    def read_to(self) -> tuple[str, int]:
        """See `Event`."""
        return self.command, self.offset


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceReady(Event):
    """A service is ready, so that the next one, or the command, can start."""

    service: str
    seconds: float
    command: str
    offset: int

    @property
    def read_to(self) -> tuple[str, int]:
        """See `Event`."""
        return self.command, self.offset


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceEnded(Event):
    """A service's command line ended before the command that it is there for. Only as true as what runs beside it."""

    service: str
    status: int
    """0 to 255; 128 + N when a signal N ended it. With 0, what it left in the background may go on."""
    command: str
    offset: int

    @property
    def read_to(self) -> tuple[str, int]:
        """See `Event`."""
        return self.command, self.offset


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyApplied(Event):
    """From here on, the proxy judges by this policy, and by what the operator bounds."""

    mode: str
    """off, limited or full."""
    allow: tuple[str, ...]
    """Domains, for the limited mode."""
    deny: tuple[str, ...]
    methods: tuple[str, ...] | None
    """Null is every method."""
    ports: tuple[int, ...]
    audit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressAllowed(Event):
    """The proxy let a request out."""

    host: str
    port: int
    method: str
    rule: str
    command: str | None = None
    """The command inside the sandbox that asked, where it could be found."""
    flow: int = 0
    """Number of the request or tunnel in its attempt; `egress_finished` has it too."""
    path: str = ""
    """Where it could be read; without its query."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressFinished(Event):
    """A request or tunnel that the proxy let out is over."""

    flow: int
    sent_bytes: int
    received_bytes: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressRefused(Event):
    """The proxy refused a request."""

    host: str
    port: int
    method: str
    rule: str
    hint: str
    command: str | None = None
    """The command inside the sandbox that asked, where it could be found."""
    flow: int = 0
    path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretDelivered(Event):
    """Secrets were put into the environment of the container that starts now."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretRemoved(Event):
    """Every process that held these secrets is dead."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidueFound(Event):
    """A script of setup left secrets on the disk. No values are in here."""

    paths: tuple[str, ...]
    details: tuple[str, ...]
    """Each path with the names of the secrets in it, and who probably wrote it."""
    action: str
    """refused, scrubbed or allowed."""
    more: int = 0
    """How many further files there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstructionsRestored(Event):
    """A script of setup had changed files that tell agents what to do; they are as commit and image have them."""

    paths: tuple[str, ...]
    diff: str
    """What was undone; cut when it is long."""
    more: int = 0
    """How many further ones there are."""
    left: tuple[str, ...] = ()
    """What was not undone: start-up files of shells, with the variables in them that lead agents elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeRunningOut(Event):
    """The agent is stopped soon; it was told so by a file in its sandbox."""

    seconds_left: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactsKept(Event):
    """Files that the agent left in /cloister/out/artifacts were kept."""

    names: tuple[str, ...]
    left_out: tuple[str, ...]
    """Those that were not, the first 20 of them, each with why."""
    left: int
    """How many were not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndRequested(Event):
    """The agent was asked to end before its time, because the task was cancelled."""

    grace_seconds: float
    """Until it is killed."""
    collect: bool
    """Whether its change is taken out all the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffCollected(Event):
    """The change was taken out of the sandbox."""

    files: int
    added: int
    removed: int
    flags: tuple[str, ...] = ()
    """What of it deserves a second look, one sentence each, the weightiest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckFinished(Event):
    """A check of the environment ran on the change alone, in a sandbox where no agent was."""

    name: str
    ok: bool
    status: int
    reason: str
    """Why it did not pass; empty when it did."""
    seconds: float
    flaky: bool
    """Whether it passed only when it was run once more."""
    notes: tuple[str, ...]
    round: int = 0
    """How often the agent had been told by then what failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordMissed(Event):
    """The attempt has no signed record."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptFinished(Event):
    """The attempt is over."""

    verdict: Verdict
    reason: str
    hint: str = ""
    """What to do about it, where that can be said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BranchPushed(Event):
    """The change is at the forge, in the task's branch."""

    branch: str
    commit: str
    conflicts: tuple[str, ...] = ()
    """Paths in which the branch that it is to be merged into has moved on otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PullRequestOpened(Event):
    """There is a pull request of the task."""

    number: int
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PullRequestUpdated(Event):
    """The task's pull request has what was changed since."""

    number: int
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewPosted(Event):
    """What a review found stands at its pull request."""

    number: int
    """Of the pull request."""
    address: str
    """Of the review."""
    commit: str
    """That its comments are about."""
    comments: int
    """Findings at their lines."""
    elsewhere: int
    """Findings in its text, because the diff does not show their lines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFinished(Event):
    """The task is over, until somebody follows up; `--json` adds what each attempt left."""

    verdict: Verdict
    turn: int = 1
    """The number of the turn that ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedEvent:
    """An event with its place in the task's log."""

    seq: int
    """Counts up within a task, from 1."""
    at: datetime
    task: TaskId
    attempt: AttemptId | None
    phase: Phase | None
    event: Event


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingEvent:
    """An event that has no place in the log yet."""

    lease: Lease
    """It is written only while this holds."""
    at: datetime
    phase: Phase | None
    event: Event


def event_to_fields(event: Event) -> dict[str, Any]:
    """Return the event's own fields as JSON values."""
    return dataclasses.asdict(event)


def fields_to_event(name: str, fields: dict[str, Any]) -> Event:
    """Return the event that `event_to_fields` wrote. Raises KeyError for a name that no event has."""
    kind = Event.by_name[name]
    known = {field.name for field in dataclasses.fields(kind)}
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()}
    if "kind" in values:
        values["kind"] = AgentEventKind(values["kind"])
    if "verdict" in values:
        values["verdict"] = Verdict(values["verdict"])
    return kind(**{key: value for key, value in values.items() if key in known})
