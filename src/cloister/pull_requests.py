"""A task's change becomes a branch and a pull request: one of each, brought up to date with every turn.

What is about to be pushed is kept before, so that whoever tries again after a fault goes on with the same commits; and
whatever may have been done is looked for before it is done.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import sha256
from typing import Any

import anyio

from cloister.check_report_text import annotations_of, finished, running
from cloister.envelope import payload_of
from cloister.errors import CloisterError, ConflictError, DeniedError, NotFoundError, UsageError
from cloister.model.check_report import CheckReport
from cloister.model.choice import attempt_of, change_of
from cloister.model.container import work_tree
from cloister.model.conversation import continuation_of
from cloister.model.diff import changed_paths
from cloister.model.event import BranchPushed, Event, PullRequestOpened, PullRequestUpdated
from cloister.model.flag import FlagKind
from cloister.model.forge import ForgeRepository, NewPullRequest, PullRequest, PullRequestState
from cloister.model.publication import (
    AUTOMATION,
    AskedIn,
    BranchDraft,
    Composed,
    Publication,
    Published,
    PublishOptions,
)
from cloister.model.sandbox import Change
from cloister.model.task import AttemptStatus, Task, TaskId, TaskStatus, Verdict
from cloister.protocols import BranchWriter, CheckBoard, Forge, ForgeHost, PublicationStore, TaskStore
from cloister.pull_request_text import TEMPLATES, Facts, Said, body_with, commit_message_of, section_of, title_of

DEFAULT = PublishOptions()
ELSEWHERE = AskedIn()
_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class PullRequests:
    """The part of the front door that publishes."""

    tasks: TaskStore
    publications: PublicationStore
    forge: Forge
    host: ForgeHost
    branches: BranchWriter
    now: Callable[[], datetime]
    """Aware, UTC."""
    public_url: str | None = None
    """Where people reach the server's pages."""
    checks: CheckBoard | None = None
    """Where the results of checks are shown."""
    _locks: dict[TaskId, anyio.Lock] = field(default_factory=dict)

    async def find(self, task: str) -> Publication:
        """Return what is known of a task's pull request, without asking the forge. NotFoundError."""
        found = (await self.tasks.get(task)).task.id
        publication = await self.publications.find(found)
        if publication is None or publication.number is None:
            raise NotFoundError(f"task {found} has no pull request", hint=f"open one: cloister pr {found}")
        return publication

    async def publish(
        self,
        task: str,
        *,
        attempt: int | None = None,
        options: PublishOptions = DEFAULT,
        asked_in: AskedIn = ELSEWHERE,
    ) -> Published:
        """Push the change of an attempt of the last turn, by default the best, and open or update its pull request.

        Repeatable. ConflictError when there is no change, somebody else pushed, or a person closed the pull request;
        DeniedError for what a branch may not have, or the forge refuses; UsageError for a repository that is at no
        forge. Nothing is pushed then.
        """
        status = await self.tasks.get(task)
        async with self._locks.setdefault(status.task.id, anyio.Lock()):
            return await self._publish(status, attempt_of(status, attempt), options, asked_in)

    async def _publish(
        self, status: TaskStatus, chosen: AttemptStatus, options: PublishOptions, asked_in: AskedIn
    ) -> Published:
        task, change = status.task, change_of(status, chosen)
        self._check(task, change, options)
        repository = await self.host.describe(task.repository)
        known = await self._known(status, repository, asked_in)
        _check_same(known, repository)
        facts = replace(await self._facts(status, chosen, change), reference=known.reference)
        found = await self.host.find_pull_request(task.repository, known.branch)
        _check_state(found, known, options)
        if known.adopted and (found is None or found.state is not PullRequestState.OPEN):
            raise ConflictError(f"the pull request of the branch {known.branch} is not open any more")
        composed = await self._compose(status, chosen, known, facts)
        is_open = found is not None and found.state is PullRequestState.OPEN
        if composed.is_empty and (known.pushed is None if known.adopted else not is_open):
            raise ConflictError(f"{known.base} has all of the change of task {task.id}: there is nothing to propose")
        known = await self._push(task, repository, known, composed, options)
        said = await self._begin_checks(task, composed, facts)
        facts = replace(facts, conflicts=composed.conflicts)
        if known.adopted and found is not None:
            pull, opened = found, False
        elif found is None or found.state is not PullRequestState.OPEN:
            pull, opened = await self._open(task, known, facts, options), True
        else:
            pull, opened = await self._update(task, found, known, facts, options), False
        kind: type[PullRequestOpened | PullRequestUpdated] = PullRequestOpened if opened else PullRequestUpdated
        told = await self._arrange(task, pull, options)
        await self._save(known, pull, facts, [kind(number=pull.number, address=pull.address)])
        said = said or await self._end_checks(task, composed, facts)
        return Published(
            pull_request=pull,
            opened=opened,
            commit=composed.pushed.head,
            conflicts=composed.conflicts,
            notes=(*_notes(change, composed, pull, opened, options), *told, *said),
        )

    async def _arrange(self, task: Task, pull: PullRequest, options: PublishOptions) -> Sequence[str]:
        """Give it to people, and let it be reviewed; say for whom that cannot be, and where rules decide on merging."""
        notes = []
        if options.assignees:
            given = await self.host.assign_pull_request(task.repository, pull.number, options.assignees)
            notes = [f"{it} cannot be given the pull request" for it in options.assignees if it not in given]
        if options.ready and pull.draft:
            await self.host.make_ready(task.repository, pull.number)
        base = next((it for it in await self.host.branches(task.repository) if it.name == pull.base), None)
        if base is not None and base.protected:
            notes.append(f"{pull.base} is protected: its rules say when this may be merged")
        return notes

    async def _begin_checks(self, task: Task, composed: Composed, facts: Facts) -> Sequence[str]:
        """Show beside what was pushed that results are on their way. Whatever keeps that from it is a note."""
        if not facts.checks:
            return ()
        pushed = composed.pushed
        return await self._show(task, running(pushed.head, id=pushed.attempt, address=facts.address))

    async def _end_checks(self, task: Task, composed: Composed, facts: Facts) -> Sequence[str]:
        if not facts.checks:
            return ()
        head, named = composed.pushed.head, annotations_of(facts.checks, work_tree=work_tree(task))
        there = set(await self.forge.find_files(task.repository, head, sorted({it.path for it in named})))
        annotations = [it for it in named if it.path in there]
        told = finished(
            head,
            facts.checks,
            id=composed.pushed.attempt,
            address=facts.address,
            annotations=annotations,
            others=facts.others,
        )
        return await self._show(task, told)

    async def _show(self, task: Task, report: CheckReport) -> Sequence[str]:
        if self.checks is None:
            return ()
        try:
            await self.checks.report(task.repository, report)
        except CloisterError as error:
            return (f"the results of the checks are not shown at the forge: {error}",)
        return ()

    def _check(self, task: Task, change: Change, options: PublishOptions) -> None:
        if not self.host.covers(task.repository):
            raise UsageError(
                f"{task.repository.address} is no repository at the forge of the settings, so it has no pull requests",
                hint="give the task its address there, such as --repo https://github.com/team/shop",
            )
        if task.review is not None:
            raise UsageError(
                f"task {task.id} is a review: it changes nothing", hint=f"post it: cloister review {task.id} --post"
            )
        if not change.diff:
            raise ConflictError(f"task {task.id} changed nothing, so there is nothing to propose")
        automation = sorted(automation_of(change))
        if automation and not options.workflows:
            paths = ", ".join(automation[:_SHOWN])
            raise DeniedError(
                f"the change of task {task.id} has {paths}: the forge runs that as soon as it is pushed, with the "
                "repository's own secrets",
                hint=f"read it (cloister diff {task.id}); if you want it: cloister pr {task.id} --workflows",
            )

    async def _known(self, status: TaskStatus, repository: ForgeRepository, asked_in: AskedIn) -> Publication:
        task = status.task
        if (known := await self.publications.find(task.id)) is not None:
            return await self._settled(task, known)
        if asked_in.adopt is not None:  # what it is to go into is the branch itself, wherever that is by then
            return Publication(task=task.id, branch=asked_in.adopt, base=asked_in.adopt, adopted=True)
        names = {branch.name for branch in await self.host.branches(task.repository)}
        base = task.revision.ref if task.revision.ref in names else repository.default_branch
        return Publication(task=task.id, branch=task.branch, base=base, reference=asked_in.reference)

    async def _settled(self, task: Task, known: Publication) -> Publication:
        """Find out whether a push that broke off had arrived."""
        if known.pushing is None:
            return known
        head = await self.branches.head(task.repository, known.branch)
        pushed = known.pushing if head == known.pushing.head else known.pushed
        return replace(known, pushed=pushed, pushing=None)

    async def _compose(self, status: TaskStatus, chosen: AttemptStatus, known: Publication, facts: Facts) -> Composed:
        turn, change = status.last_turn, facts.change
        draft = BranchDraft(
            base=change.base,
            diff=change.diff,
            onto=known.base,
            former=known.pushed,
            message=commit_message_of(facts, turn.prompt),
            author=await self.host.author(),
            at=turn.accepted_at,
            attempt=chosen.attempt,
        )
        return await self.branches.compose(status.task.repository, draft)

    async def _push(
        self,
        task: Task,
        repository: ForgeRepository,
        known: Publication,
        composed: Composed,
        options: PublishOptions,
    ) -> Publication:
        """Push what is not there yet; a branch that is gone, as after a merge, is made anew."""
        pushed = composed.pushed
        head = await self.branches.head(task.repository, known.branch)
        if head == pushed.head:
            return replace(known, pushed=pushed, pushing=None)
        expected = None if head is None else (known.pushed.head if known.pushed else None)
        if known.adopted and (head != composed.onto or not composed.is_above):
            raise ConflictError(
                f"the branch {known.branch} has moved on, and the change does not fit it any more"
                if head is not None
                else f"the branch {known.branch} is gone",
                hint=f"take the change from the task: cloister apply {task.id}",
            )
        await self.publications.save(replace(known, pushing=pushed), self.now())
        if known.adopted:
            await self.publications.note_adopted(known.branch, pushed.head, self.now())
        await self.branches.push(
            task.repository,
            known.branch,
            pushed.head,
            expected=expected,
            default_branch=repository.default_branch,
            workflows=options.workflows,
            adopted=known.adopted,
        )
        event = BranchPushed(branch=known.branch, commit=pushed.head, conflicts=composed.conflicts)
        known = replace(known, pushed=pushed, pushing=None)
        await self.publications.save(known, self.now(), [event])
        return known

    async def _open(self, task: Task, known: Publication, facts: Facts, options: PublishOptions) -> PullRequest:
        body = body_with(section_of(facts), None, await self._template(task))
        new = NewPullRequest(
            branch=known.branch,
            base=known.base,
            title=title_of(facts),
            body=body,
            draft=options.draft,
            labels=options.labels,
        )
        return await self.host.open_pull_request(task.repository, new)

    async def _update(
        self, task: Task, found: PullRequest, known: Publication, facts: Facts, options: PublishOptions
    ) -> PullRequest:
        """Bring the section up to date, and the title unless a person changed it."""
        title = title_of(facts)
        body = body_with(section_of(facts), found.body, "")
        is_ours = known.title is None or found.title == known.title
        changed_title = title if is_ours and title != found.title else None
        changed_body = body if body != found.body else None
        if options.labels:
            await self.host.label_pull_request(task.repository, found.number, options.labels)
        if changed_title is None and changed_body is None:
            return found
        return await self.host.update_pull_request(
            task.repository, found.number, title=changed_title, body=changed_body
        )

    async def _save(self, known: Publication, pull: PullRequest, facts: Facts, events: Sequence[Event]) -> None:
        made = replace(
            known, number=pull.number, address=pull.address, title=title_of(facts), repository=pull.repository
        )
        await self.publications.save(made, self.now(), events)

    async def _template(self, task: Task) -> str:
        """Return the repository's template, of its default branch as the task found it: no agent wrote that."""
        commit = task.revision.default_commit
        there = await self.forge.find_files(task.repository, commit, TEMPLATES)
        first = next((path for path in TEMPLATES if path in there), None)
        raw = None if first is None else await self.forge.read_file(task.repository, commit, first)
        return (raw or b"").decode(errors="replace")

    async def _facts(self, status: TaskStatus, chosen: AttemptStatus, change: Change) -> Facts:
        task, outcome = status.task, chosen.outcome
        assert outcome is not None
        envelope = await self.tasks.find_record(chosen.attempt)
        predicate: Mapping[str, Any] = json.loads(payload_of(envelope))["predicate"] if envelope else {}
        return Facts(
            task=task.id,
            address=f"{self.public_url}/tasks/{task.id}" if self.public_url else None,
            agent=task.agent,
            model=task.environment.model,
            conversation=_conversation(status, chosen),
            change=change,
            checks=outcome.checks,
            others={
                it.number: it.outcome.checks
                for it in status.last_turn.attempts
                if it.attempt != chosen.attempt and it.outcome is not None
            },
            network=tuple(_network(predicate)),
            secrets=tuple(_secrets(predicate)),
            record=sha256(envelope).hexdigest() if envelope else None,
            failure=None if outcome.verdict is Verdict.SUCCEEDED else f"{outcome.verdict}: {outcome.reason}",
        )


def automation_of(change: Change) -> set[str]:
    """Return the paths that a forge, or what watches it, runs by itself."""
    flagged = {flag.path for flag in change.flags if flag.kind is FlagKind.AUTOMATION}
    return flagged | {path for path in changed_paths(change.diff) if path.strip('"').lower().startswith(AUTOMATION)}


def _check_same(known: Publication, repository: ForgeRepository) -> None:
    """Raise ConflictError when another repository has the name by now: what was made in one is not for its readers."""
    if known.repository and known.repository != repository.id:
        raise ConflictError(
            f"{repository.name} is another repository than the one that task {known.task} has its pull request in",
            hint="give the change to a task of the repository that you mean: cloister run --patch FILE",
        )


def _check_state(found: PullRequest | None, known: Publication, options: PublishOptions) -> None:
    """Raise ConflictError when a person said no."""
    if found is not None and found.state is PullRequestState.CLOSED and not options.again:
        raise ConflictError(
            f"somebody closed the pull request of task {known.task} without merging it: {found.address}",
            hint=f"to open another one: cloister pr {known.task} --again",
        )


def _conversation(status: TaskStatus, chosen: AttemptStatus) -> tuple[Said, ...]:
    """Return what led to an attempt of the last turn, and its answer."""
    turn, message = status.last_turn, chosen.outcome.message if chosen.outcome else ""
    former = continuation_of(status.turns, turn).conversation if turn.continues is not None else ()
    return (*(Said(prompt=it.prompt, message=it.message) for it in former), Said(prompt=turn.prompt, message=message))


def _network(predicate: Mapping[str, Any]) -> Sequence[str]:
    """One line for each phase that had a network, and how often it was asked."""
    modes = {policy["phase"]: policy for policy in predicate.get("policies", ())}
    lines = []
    for phase, policy in modes.items():
        allowed = ", ".join(policy["allow"][:_SHOWN]) + (", ..." if len(policy["allow"]) > _SHOWN else "")
        lines.append(f"{phase}: {policy['mode']}{f' ({allowed})' if policy['mode'] == 'limited' else ''}")
    egress = predicate.get("egress")
    if egress and (egress["allowed"] or egress["refused"]):
        lines.append(f"requests: {egress['allowed']} allowed, {egress['refused']} refused")
    return lines or ["off"]


def _secrets(predicate: Mapping[str, Any]) -> Sequence[str]:
    lines = []
    for phase, names in predicate.get("secrets", {}).items():
        brokered = [f"{name} (brokered)" for name in names["brokered"]]
        lines.append(f"{phase}: {', '.join([*names['present'], *brokered])}")
    return lines


def _notes(
    change: Change, composed: Composed, pull: PullRequest, opened: bool, options: PublishOptions
) -> Sequence[str]:
    notes = [f"look twice at {flag}" for flag in change.flags[:_SHOWN]]
    if composed.conflicts:
        paths = ", ".join(composed.conflicts[:_SHOWN])
        notes.append(f"{pull.base} has moved on otherwise in {paths}: a person has to merge")
    if composed.is_empty:
        notes.append(f"nothing differs from {pull.base} any more")
    if options.draft and not options.ready and not opened and not pull.draft:
        notes.append("the pull request is no draft, and stays none")
    return notes
