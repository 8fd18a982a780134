"""Reviews of pull requests: what a task is asked, and what of its findings is posted.

A review reads. It changes nothing, is pushed nowhere, and never approves. Its rules are those of the branch that the
pull request is to be merged into. Whatever may have been posted is looked for before it is posted.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import anyio
import anyio.to_thread

from cloister.diff_places import Moved, Shown, find_place, shown_lines
from cloister.environments import Environments
from cloister.errors import CloisterError, ConflictError, NotFoundError, RepositoryError, UsageError
from cloister.model.choice import attempt_of
from cloister.model.environment import ReviewRecipe
from cloister.model.event import ReviewPosted
from cloister.model.finding import Finding, Side
from cloister.model.forge import PullRequest, PullRequestState
from cloister.model.network import NetworkMode
from cloister.model.request import EnvironmentChoice, Request, ReviewRequest
from cloister.model.review import LONGEST_FOCUS, KnownReview, NewReview, PostedReview, Posting, Review, ReviewAsk
from cloister.model.sandbox import Commit
from cloister.model.task import OWN_BRANCHES, Repository, Task, TaskId, TaskStatus
from cloister.protocols import Forge, ForgeHost, ReviewBoard, ReviewStore, TaskStore
from cloister.repository_address import parse_repository
from cloister.review_briefing import review_prompt
from cloister.review_rules import find_rules
from cloister.review_text import MOST_COMMENTS, Placed, comment_of, mark_of, text_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Reviews:
    """The part of the front door that reviews."""

    tasks: TaskStore
    known: ReviewStore
    forge: Forge
    host: ForgeHost
    board: ReviewBoard
    environments: Environments
    now: Callable[[], datetime]
    """Aware, UTC."""
    public_url: str | None = None
    """Where people reach the server's pages."""
    _locks: dict[TaskId, anyio.Lock] = field(default_factory=dict)

    async def prepare(self, asked: ReviewRequest) -> Request:
        """Return the request for a task that reviews an open pull request at its head.

        UsageError for a repository that is at no forge; NotFoundError without such a pull request; ConflictError when
        it is not open, or there is nothing (new) to review.
        """
        if len(asked.focus) > LONGEST_FOCUS:
            raise UsageError(f"what to look for has {len(asked.focus)} characters; at most {LONGEST_FOCUS} are taken")
        repository = parse_repository(asked.repository, guarded=asked.guarded)
        if not self.host.covers(repository):
            raise UsageError(
                f"{repository.address} is no repository at the forge of the settings, so it has no pull requests",
                hint="give its address there, such as --repo https://github.com/team/shop",
            )
        pull = await self.host.get_pull_request(repository, asked.number)
        _check_open(pull)
        target = await self.forge.resolve(repository, pull.base)
        base = await self._base(repository, target.commit, pull)
        since = await self._since(repository, pull) if asked.incremental else None
        diff = await self.forge.diff(repository, since or base, pull.head)
        if not diff:
            raise ConflictError(f"pull request {pull.number} changes nothing{' since then' if since else ''}")
        environment, _ = await self.environments.read(asked.environment, repository, target)
        shown = await anyio.to_thread.run_sync(shown_lines, diff)
        ask = ReviewAsk(
            number=pull.number,
            address=pull.address,
            title=pull.title,
            author=pull.author,
            target=pull.base,
            base=base,
            since=since,
            focus=asked.focus.strip(),
            lowest=asked.lowest or environment.review.lowest,
            rules=await find_rules(self.forge, repository, target.commit, shown),
            post=asked.post,
        )
        is_from_outside = pull.fork or pull.branch.startswith(OWN_BRANCHES)
        return Request(
            repository=asked.repository,
            guarded=asked.guarded,
            prompt=review_prompt(ask, pull.head),
            ref=pull.head,
            foreign=pull.fork,
            environment=asked.environment,
            agent=asked.agent,
            model=asked.model,
            command=asked.command,
            internet=NetworkMode.OFF if is_from_outside else None,
            review=ask,
        )

    async def recipe(self, repository: Repository, branch: str, choice: EnvironmentChoice | None) -> ReviewRecipe:
        """Return what is said of reviews for pull requests into a branch. Errors as for `prepare`."""
        target = await self.forge.resolve(repository, branch)
        environment, _ = await self.environments.read(choice, repository, target)
        return environment.review

    async def note(self, task: Task) -> None:
        """Remember a review that was accepted."""
        assert task.review is not None
        known = KnownReview(
            task=task.id,
            repository=task.repository.address,
            number=task.review.number,
            head=task.revision.commit,
            waiting=task.review.post,
        )
        await self.known.save(known, self.now())

    async def find(self, task: str) -> KnownReview:
        """Return what is known of a task's review, without asking the forge. NotFoundError."""
        status = await self.tasks.get(task)
        if status.task.review is None:
            raise NotFoundError(f"task {status.task.id} is no review")
        return await self._known(status.task)

    async def post(self, task: str, *, attempt: int | None = None) -> Posting:
        """Post what an attempt of the last turn found, by default the best, as one review that comments.

        Repeatable: a turn has one review, which repeats nothing of the turns before. ConflictError when there are no
        findings that can be used, or the pull request is not open any more; UsageError for a task that is no review.
        Nothing is posted then.
        """
        status = await self.tasks.get(task)
        async with self._locks.setdefault(status.task.id, anyio.Lock()):
            posting = await self._post(status, _review_of(status, attempt))
        assert posting is not None, "it is posted, whatever there is to say"
        return posting

    async def post_news(self, task: str) -> Posting | None:
        """As `post`; None when it was about what is new alone, and there is nothing to say: then nobody is told."""
        status = await self.tasks.get(task)
        async with self._locks.setdefault(status.task.id, anyio.Lock()):
            return await self._post(status, _review_of(status, None), news=True)

    async def _post(self, status: TaskStatus, review: Review, *, news: bool = False) -> Posting | None:
        task = status.task
        ask, known = task.review, await self._known(task)
        assert ask is not None
        turn = status.last_turn.number
        if known.posted is not None and known.turn >= turn:
            return _again(known.posted)
        mark = mark_of(task.id, turn)
        if (found := await self.board.find(task.repository, ask.number, mark)) is not None:
            return await self._save(replace(known, turn=turn), found, _again(found))
        pull = await self.host.get_pull_request(task.repository, ask.number)
        _check_open(pull)
        said = {it for former in await self._former(task, ask) for it in former.fingerprints}
        said.update(known.fingerprints)
        placed = await self._place(task, pull, review)
        fingerprints = [_fingerprint(it) for it in placed]
        fresh = [it for it, own in zip(placed, fingerprints, strict=True) if own not in said]
        if news and ask.since is not None and not fresh:
            await self.known.save(replace(known, waiting=False, idle=True, problem=""), self.now())
            return None
        posting = await self._send(task, turn, pull, review, fresh, known=len(placed) - len(fresh))
        told = tuple(dict.fromkeys((*known.fingerprints, *fingerprints)))
        return await self._save(replace(known, turn=turn, fingerprints=told), posting.review, posting)

    async def _send(
        self, task: Task, turn: int, pull: PullRequest, review: Review, fresh: Sequence[Placed], *, known: int
    ) -> Posting:
        """Post it; once more without comments on lines, where the forge shows other lines than git does."""
        at_lines = [it for it in fresh if it.place is not None][:MOST_COMMENTS]
        try:
            return await self._send_once(task, turn, pull, review, fresh, at_lines, known=known)
        except UsageError as error:
            if not at_lines:
                raise
            posting = await self._send_once(task, turn, pull, review, fresh, [], known=known)
            return replace(posting, notes=(*posting.notes, f"all findings stand in its text: {error}"))

    async def _send_once(
        self,
        task: Task,
        turn: int,
        pull: PullRequest,
        review: Review,
        fresh: Sequence[Placed],
        at_lines: Sequence[Placed],
        *,
        known: int,
    ) -> Posting:
        assert task.review is not None
        elsewhere = [it for it in fresh if it not in at_lines]
        text = text_of(
            task.review,
            review,
            task=task.id,
            turn=turn,
            address=f"{self.public_url}/tasks/{task.id}" if self.public_url else None,
            reviewed=task.revision.commit,
            head=pull.head,
            comments=len(at_lines),
            elsewhere=elsewhere,
            known=known,
        )
        new = NewReview(commit=pull.head, body=text, comments=tuple(comment_of(it) for it in at_lines))
        posted = await self._post_once(task, turn, pull, new)
        moved = f"{pull.head[:12]} came while {task.revision.commit[:12]} was reviewed"
        return Posting(
            review=posted,
            again=False,
            comments=len(at_lines),
            elsewhere=len(elsewhere),
            known=known,
            notes=(moved,) if pull.head != task.revision.commit else (),
        )

    async def _post_once(self, task: Task, turn: int, pull: PullRequest, new: NewReview) -> PostedReview:
        try:
            return await self.board.post(task.repository, pull.number, new)
        except UsageError:
            raise
        except CloisterError:  # it may be there all the same: the answer was lost
            found = await self.board.find(task.repository, pull.number, mark_of(task.id, turn))
            if found is None:
                raise
            return found

    async def _save(self, known: KnownReview, posted: PostedReview, posting: Posting) -> Posting:
        event = ReviewPosted(
            number=known.number,
            address=posted.address,
            commit=posted.commit,
            comments=posting.comments,
            elsewhere=posting.elsewhere,
        )
        done = replace(known, posted=replace(posted, body=""), waiting=False, problem="")
        await self.known.save(done, self.now(), [event])
        return posting

    async def _place(self, task: Task, pull: PullRequest, review: Review) -> Sequence[Placed]:
        """Find the lines in the pull request's diff as it is now, which is what may be commented on."""
        ask, reviewed, repository = task.review, task.revision.commit, task.repository
        assert ask is not None
        base, moved = ask.base, None
        if pull.head != reviewed:
            target = await self.forge.resolve(repository, pull.base)
            base = await self._base(repository, target.commit, pull)
            moved = Moved(await self.forge.diff(repository, reviewed, pull.head, context=0))
        diff = await self.forge.diff(repository, base, pull.head)
        shown = await anyio.to_thread.run_sync(shown_lines, diff)
        followed = [_follow(it, moved, same_base=base == ask.base) for it in review.findings]
        return [_placed(it, now, shown) for it, now in zip(review.findings, followed, strict=True)]

    async def _base(self, repository: Repository, target: Commit, pull: PullRequest) -> Commit:
        base = await self.forge.merge_base(repository, target, pull.head)
        if base is None:
            raise ConflictError(f"pull request {pull.number} has no history in common with {pull.base}")
        return base

    async def _since(self, repository: Repository, pull: PullRequest) -> Commit | None:
        """Return the newest commit that was reviewed, if the pull request still has it."""
        for known in await self.known.of_pull_request(repository.address, pull.number):
            if known.posted is None and not known.idle:
                continue
            if known.head == pull.head:
                raise ConflictError(f"pull request {pull.number} has nothing new since its last review")
            try:
                is_within = await self.forge.merge_base(repository, known.head, pull.head) == known.head
            except RepositoryError:  # it was taken away
                is_within = False
            return known.head if is_within else None
        return None

    async def _known(self, task: Task) -> KnownReview:
        assert task.review is not None
        return await self.known.find(task.id) or KnownReview(
            task=task.id, repository=task.repository.address, number=task.review.number, head=task.revision.commit
        )

    async def _former(self, task: Task, ask: ReviewAsk) -> Sequence[KnownReview]:
        known = await self.known.of_pull_request(task.repository.address, ask.number)
        return [it for it in known if it.posted is not None and it.task != task.id]


def _check_open(pull: PullRequest) -> None:
    if pull.state is not PullRequestState.OPEN:
        raise ConflictError(f"pull request {pull.number} is {pull.state}: there is nothing to review any more")


def _review_of(status: TaskStatus, attempt: int | None) -> Review:
    task = status.task
    if task.review is None:
        raise UsageError(f"task {task.id} is no review", hint="make one: cloister review NUMBER --repo ADDRESS")
    chosen = attempt_of(status, attempt)
    if chosen.outcome is None:
        raise ConflictError(
            f"task {task.id} is {chosen.state}: there are no findings yet",
            hint=f"wait for it: cloister task wait {task.id}",
        )
    if chosen.outcome.review is None:
        raise ConflictError(f"attempt {chosen.number} of task {task.id} left no findings: {chosen.outcome.reason}")
    return chosen.outcome.review


def _again(posted: PostedReview) -> Posting:
    return Posting(review=posted, again=True, comments=0, elsewhere=0, known=0)


def _follow(finding: Finding, moved: Moved | None, *, same_base: bool) -> Finding | None:
    """Return the finding where its lines are now; None when they were changed since."""
    if moved is None:
        return finding
    if finding.side is Side.LEFT:
        return finding if same_base else None
    first, last = (moved.find(finding.path, line) for line in (finding.first_line, finding.line))
    if first is None or last is None or last[1] - first[1] != finding.line - finding.first_line:
        return None
    start = first[1] if finding.start_line is not None else None
    return replace(finding, path=last[0], line=last[1], start_line=start)


def _placed(finding: Finding, now: Finding | None, shown: Shown) -> Placed:
    if now is None:
        return Placed(finding=finding, place=None, moved=True)
    return Placed(finding=now, place=find_place(shown, now.path, now.side, now.first_line, now.line))


def _fingerprint(placed: Placed) -> str:
    """Tell a finding from others, wherever its line goes: by file, title and the line's own text."""
    finding = placed.finding
    text = "" if placed.place is None else " ".join(placed.place.text.split())
    title = " ".join(finding.title.lower().split())
    return hashlib.sha256("\0".join((finding.path, finding.side, title, text)).encode()).hexdigest()[:32]
