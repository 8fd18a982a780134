"""Says in words what happened: one event, a few lines, the same in a terminal and on a page."""

from functools import singledispatch

from cloister.model.check import CheckResult
from cloister.model.event import (
    ArtifactsKept,
    AttemptFinished,
    AttemptStarted,
    BranchPushed,
    CatchingMissed,
    CheckFinished,
    DiffCollected,
    EgressRefused,
    EndRequested,
    Event,
    FinalDiskMissed,
    FinalDiskResumed,
    InstructionsRestored,
    LargeFilesFetched,
    ModelCallFailed,
    PersonEntered,
    PersonLeft,
    PullRequestOpened,
    PullRequestUpdated,
    RecordMissed,
    ResidueFound,
    ReviewPosted,
    SecretDelivered,
    SecretRemoved,
    ServiceEnded,
    ServiceReady,
    ServiceStarted,
    SetupPlanned,
    SetupStepFinished,
    SetupStepStarted,
    ShellClosed,
    ShellOpened,
    SnapshotAwaited,
    SnapshotHit,
    SnapshotMissed,
    SnapshotSaved,
    SubmodulesFetched,
    TaskAccepted,
    TimeRunningOut,
    TurnAccepted,
)
from cloister.model.finding import FindingPriority
from cloister.model.model_usage import TokenUsage, UsageTotal
from cloister.model.quantity import size_to_text
from cloister.model.review import Review
from cloister.model.setup_plan import place_to_text
from cloister.model.task import Verdict

Lines = list[tuple[str, str]]
"""Each with its style."""

_STYLES = {
    Verdict.SUCCEEDED: "green",
    Verdict.FAILED: "red",
    Verdict.ERRORED: "bold red",
    Verdict.CANCELLED: "yellow",
}
_MOST_LINES = 20
"""Of what was undone."""
_KEY_SHOWN = 12


def style_of(verdict: Verdict) -> str:
    """Return the colour of a verdict."""
    return _STYLES[verdict]


@singledispatch
def sentences(event: Event) -> Lines:
    """Return the lines that tell of an event, each with its style; none for one that is told otherwise, or not."""
    return []


@sentences.register
def _task_accepted(event: TaskAccepted) -> Lines:
    at = f"at {event.ref} ({event.commit[:_KEY_SHOWN]}), environment {event.environment}"
    version = f", version {event.environment_version}" if event.environment_version else ""
    return [(at + version, ""), *((f"note: {note}", "yellow") for note in event.notes)]


@sentences.register
def _branch_pushed(event: BranchPushed) -> Lines:
    conflicts = f"conflicts with its base: {', '.join(event.conflicts[:5])}"
    pushed = (f"pushed to {event.branch} ({event.commit[:_KEY_SHOWN]})", "")
    return [pushed, *([(conflicts, "yellow")] if event.conflicts else [])]


@sentences.register
def _pull_request_opened(event: PullRequestOpened) -> Lines:
    return [(f"pull request {event.number} opened: {event.address}", "green")]


@sentences.register
def _review_posted(event: ReviewPosted) -> Lines:
    found = event.comments + event.elsewhere
    return [(f"review with {found} finding{'s' * (found != 1)} posted: {event.address}", "")]


@sentences.register
def _pull_request_updated(event: PullRequestUpdated) -> Lines:
    return [(f"pull request {event.number} updated: {event.address}", "green")]


@sentences.register
def _turn_accepted(event: TurnAccepted) -> Lines:
    from_ = f"turn {event.turn}, which goes on from attempt {event.continues.partition('-')[2]}"
    return [(from_, ""), *((f"note: {note}", "yellow") for note in event.notes)]


@sentences.register
def _attempt_started(event: AttemptStarted) -> Lines:
    return [(f"taken over after a failure, retry {event.retry}", "yellow")] if event.retry else []


@sentences.register
def _large_files_fetched(event: LargeFilesFetched) -> Lines:
    had = f"  large files: {event.files - event.left} of {event.files}, {size_to_text(event.size)}"
    lacks = f"; the others stay pointers of Git LFS: {event.reason}" if event.left else ""
    return [(had + lacks, "yellow" if event.left else "")]


@sentences.register
def _submodules_fetched(event: SubmodulesFetched) -> Lines:
    stay = [(f"  submodule left empty: {it}", "yellow") for it in event.left]
    return [*([(f"  submodules: {event.there}", "")] if event.there else []), *stay]


@sentences.register
def _catching_missed(event: CatchingMissed) -> Lines:
    note = "note: programs that ignore the proxy reach nothing on this host; `cloister doctor` says why"
    return [(f"  {note}", "yellow")]


@sentences.register
def _final_disk_resumed(event: FinalDiskResumed) -> Lines:
    whose = event.continues.partition("-")[2]
    return [(f"  disk of attempt {whose}: as its agent left it, so nothing of setup runs", "green")]


@sentences.register
def _final_disk_missed(event: FinalDiskMissed) -> Lines:
    whose = event.continues.partition("-")[2]
    lost = "its change is applied after setup, and what else it wrote is not there"
    return [(f"  disk of attempt {whose}: {event.reason}; {lost}", "yellow")]


@sentences.register
def _snapshot_hit(event: SnapshotHit) -> Lines:
    return [(f"  snapshot {event.key[:_KEY_SHOWN]}{_of(event.ref)}: hit", "green")]


@sentences.register
def _snapshot_missed(event: SnapshotMissed) -> Lines:
    return [(f"  snapshot: none fits ({event.reason})", "yellow")]


@sentences.register
def _snapshot_awaited(event: SnapshotAwaited) -> Lines:
    return [(f"  snapshot {event.key[:_KEY_SHOWN]}: another attempt is making it, so this one waits", "")]


@sentences.register
def _setup_planned(event: SetupPlanned) -> Lines:
    return [
        *((f"  version {version}", "") for version in event.versions),
        *((f"  detected {step}", "") for step in event.steps),
        *((f"  note: {note}", "yellow") for note in event.notes),
        *([(f"  not as on the default branch: {', '.join(event.differing)}", "")] if event.differing else []),
    ]


@sentences.register
def _setup_step_started(event: SetupStepStarted) -> Lines:
    return []  # the plan has named it, and its end says how long it took


@sentences.register
def _setup_step_finished(event: SetupStepFinished) -> Lines:
    place = place_to_text(event.tool, event.folder, event.reason)
    took = f"took {event.seconds:.1f} s" if event.seconds is not None else "was killed"
    return [(f"  {place} {took if event.ok else f'failed, {took}'}", "dim" if event.ok else "red")]


@sentences.register
def _shell_opened(event: ShellOpened) -> Lines:
    return [("  the shell is yours; `exit` or ctrl-d ends it, and nothing of it is kept", "green")]


@sentences.register
def _shell_closed(event: ShellClosed) -> Lines:
    return [(f"  shell closed after {event.seconds:.1f} s, with status {event.status}", "")]


@sentences.register
def _snapshot_saved(event: SnapshotSaved) -> Lines:
    return [(f"  snapshot {event.key[:_KEY_SHOWN]}{_of(event.ref)}: saved", "")]


@sentences.register
def _secret_delivered(event: SecretDelivered) -> Lines:
    return [(f"  secrets delivered: {', '.join(event.names)}", "")]


@sentences.register
def _secret_removed(event: SecretRemoved) -> Lines:
    return [(f"  secrets removed: {', '.join(event.names)}", "")]


@sentences.register
def _service_started(event: ServiceStarted) -> Lines:
    return [(f"  service {event.service}: started", "")]


@sentences.register
def _service_ready(event: ServiceReady) -> Lines:
    return [(f"  service {event.service}: ready after {event.seconds:.2f} s", "green")]


@sentences.register
def _service_ended(event: ServiceEnded) -> Lines:
    ended = f"  service {event.service}: its command ended with status {event.status}"
    return [(ended, "yellow" if event.status else "dim")]


@sentences.register
def _egress_refused(event: EgressRefused) -> Lines:
    refused, *hint = refusal_lines(event)
    return [(refused, "red"), *((line, "") for line in hint)]


@sentences.register
def _instructions_restored(event: InstructionsRestored) -> Lines:
    undone = event.diff.splitlines()
    more = len(undone) - _MOST_LINES
    return [
        *((f"  instructions restored: {path}", "yellow") for path in (*event.paths, *more_to_text(event.more))),
        *((f"    {line}", "dim") for line in undone[:_MOST_LINES]),
        *([(f"    ... and {more} lines more: --json shows them", "dim")] if more > 0 else []),
        *((f"  not undone: {path}, which leads agents elsewhere", "yellow") for path in event.left),
    ]


@sentences.register
def _residue_found(event: ResidueFound) -> Lines:
    details = (*event.details, *more_to_text(event.more))
    return [(f"  secret on disk, {event.action}: {detail}", "red") for detail in details]


@sentences.register
def _person_entered(event: PersonEntered) -> Lines:
    return [(f"  somebody opened shell {event.shell} beside the agent", "yellow")]


@sentences.register
def _person_left(event: PersonLeft) -> Lines:
    return [(f"  shell {event.shell} was closed after {event.seconds:.1f} s", "yellow")]


@sentences.register
def _time_running_out(event: TimeRunningOut) -> Lines:
    return [(f"  the agent is stopped in {event.seconds_left:.0f} s, and was told so", "yellow")]


@sentences.register
def _artifacts_kept(event: ArtifactsKept) -> Lines:
    told = [(f"  artifacts: {', '.join(event.names)}", "")] if event.names else []
    return [*told, *((f"  artifact left out: {reason}", "yellow") for reason in event.left_out)]


@sentences.register
def _end_requested(event: EndRequested) -> Lines:
    kept = "and its change is collected" if event.collect else "and nothing of it is kept"
    return [(f"  the agent was asked to end; it is killed after {event.grace_seconds:g} s, {kept}", "yellow")]


@sentences.register
def _diff_collected(event: DiffCollected) -> Lines:
    return [(f"  change: {stats_to_text(event.files, event.added, event.removed)}", "")]


@sentences.register
def _model_call_failed(event: ModelCallFailed) -> Lines:
    return [failed_call_line(event)]


@sentences.register
def _check_finished(event: CheckFinished) -> Lines:
    return [(f"  {line}", style) for line, style in check_lines(event)]


@sentences.register
def _record_missed(event: RecordMissed) -> Lines:
    return [(f"no record: {event.reason}", "yellow")]


@sentences.register
def _attempt_finished(event: AttemptFinished) -> Lines:
    # Marked as output is: a script's last words must not pass for ours.
    reason, *words = event.reason.split("\n")
    said = f"{event.verdict}: {reason}" if event.reason not in ("", event.verdict) else event.verdict
    return [(said, style_of(event.verdict)), *((f"  | {line}", style_of(event.verdict)) for line in words)]


def more_to_text(count: int) -> tuple[str, ...]:
    """Return what stands behind a list that was cut; nothing when it was not."""
    return (f"and {count} more",) if count else ()


def refusal_lines(event: EgressRefused) -> list[str]:
    """Say what was refused, and what to do about it."""
    by = f" (asked by {event.command})" if event.command else ""
    hint = [f"           {event.hint}"] if event.hint else []
    return [f"  refused: {event.method} {event.host}:{event.port}: {event.rule}{by}", *hint]


def _of(ref: str | None) -> str:
    return "" if ref is None else f" of {ref} alone"


def check_lines(result: CheckFinished | CheckResult) -> Lines:
    """Say how a check ended, and what a reader should know of it, each with its style."""
    flaky = ", the second time" if result.flaky else ""
    how = f"passed{flaky}" if result.ok else f"failed: {result.reason}"
    said = (f"check {result.name} {how} ({result.seconds:.1f} s)", "green" if result.ok else "red")
    return [said, *((f"  {note}", "yellow") for note in result.notes)]


def finding_lines(review: Review) -> Lines:
    """Say what a review found, the weightiest first, each line with its style."""
    lines = [] if review.findings else [("nothing found", "green")]
    for it in review.findings:
        style = "red" if it.priority in (FindingPriority.P0, FindingPriority.P1) else "yellow"
        lines.append((f"{it.priority} {it.place}  {it.title}", style))
        lines += [(f"   {line}", "") for line in it.body.splitlines()]
        if it.suggestion is not None:
            lines += [(f"   - {line}", "dim") for line in it.suggestion.old.splitlines()]
            lines += [(f"   + {line}", "dim") for line in it.suggestion.new.splitlines()]
    if review.left_out:
        lines.append((f"{review.left_out} that matter less left out", "dim"))
    return lines


def stats_to_text(files: int, added: int, removed: int) -> str:
    """Return `2 files, +10 -3`."""
    if not files:
        return "nothing changed"
    return f"{files} file{'s' if files > 1 else ''}, +{added} -{removed}"


def failed_call_line(event: ModelCallFailed) -> tuple[str, str]:
    """Say why a provider did not answer."""
    status = f" answered with status {event.status}" if event.status >= 400 else ""
    wait = f", and asks to wait: {event.retry_after}" if event.retry_after else ""
    return (f"  model: {event.provider}{status}: {_one_line(event.reason)}{wait}", "yellow")


def usage_to_text(total: UsageTotal) -> str:
    """Say what all calls of an attempt took: `3 calls, 5210 tokens in (4096 cached), 220 out, $0.0123`."""
    usage = total.usage
    calls = f"{total.calls} call{'s' if total.calls > 1 else ''}"
    cost = f", ${total.cost:.4f}" if total.cost is not None else ", cost unknown: no price in the settings"
    guess = ", a part of it by estimate" if total.estimated else ""
    return f"{calls}, {tokens_to_text(usage)}{cost}{guess}"


def tokens_to_text(usage: TokenUsage) -> str:
    """Return `5210 tokens in (4096 cached), 220 out`."""
    cached = f" ({usage.cached_tokens} cached)" if usage.cached_tokens else ""
    return f"{usage.input_tokens} tokens in{cached}, {usage.output_tokens} out"


def _one_line(text: str) -> str:
    return " ".join(text.split())
