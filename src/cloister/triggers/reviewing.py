"""Reviews that nobody had to ask for one by one: of pull requests that are opened, made ready, or pushed to."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import anyio

from cloister.errors import DeniedError
from cloister.intake import Intake
from cloister.model.forge import PullRequest, PullRequestState
from cloister.model.inbox import Arrived
from cloister.model.repository_pattern import is_named_by
from cloister.model.request import Request, ReviewRequest
from cloister.model.request_key import RequestKey, make_request_key
from cloister.model.task import Repository, Task
from cloister.protocols import ForgeThreads
from cloister.repository_address import parse_repository
from cloister.reviews import Reviews
from cloister.triggers.gatekeeper import TriggerRules
from cloister.triggers.handling import Handled
from cloister.triggers.payloads import PullRequestPayload, read_payload
from cloister.triggers.slow_lane import SlowLane
from cloister.triggers.starting import environment_for

OPENED = ("opened", "ready_for_review")
PUSHED = "synchronize"
_HOUR = timedelta(hours=1)
_MOST_COUNTED = 500


def asked_by(login: str) -> str:
    """Return the name of a caller who is known by a login at the forge."""
    return f"github/{login}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewPace:
    """How many reviews people may ask for in an hour, and how many there may be in a repository."""

    intake: Intake
    rules: TriggerRules
    _counting: anyio.Lock = field(default_factory=anyio.Lock)

    async def check(self, repository: Repository, by: str) -> None:
        """Raise DeniedError when there were as many reviews within an hour as the settings allow."""
        recent = await self._recent(repository)
        own = [it for it in recent if it.asked_by == by]
        if len(own) >= self.rules.per_person or len(recent) >= self.rules.per_repository:
            raise DeniedError(f"there were {len(recent)} reviews within an hour in {repository.address}")

    async def submit(self, request: Request, key: RequestKey, repository: Repository, by: str) -> Task:
        """Accept a review, one at a time, so that many who ask at once are counted. Errors as for `check`."""
        async with self._counting:
            await self.check(repository, by)
            return await self.intake.submit(request, key, asked_by=by)

    async def _recent(self, repository: Repository) -> Sequence[Task]:
        """Return the reviews of a repository that were asked for within an hour."""
        since = self.intake.now() - _HOUR
        tasks = [it.task for it in await self.intake.tasks(limit=_MOST_COUNTED)]
        return [
            it
            for it in tasks
            if it.review is not None and it.accepted_at > since and it.repository.address == repository.address
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class AutomaticReviews:
    """A `Handler`. The branch that a pull request goes into says whether it is reviewed, or the settings do.

    So whoever opens one is let in; but not more often in an hour than the settings say, and not Cloister itself.
    """

    rules: TriggerRules
    threads: ForgeThreads
    intake: Intake
    reviews: Reviews
    pace: ReviewPace
    lane: SlowLane = field(default_factory=SlowLane)
    """Where a repository is fetched and its change looked through."""
    kinds: frozenset[str] = frozenset({"pull_request"})

    async def handle(self, arrived: Arrived) -> Handled | None:
        """See `handling.Handler`."""
        payload = read_payload(PullRequestPayload, arrived)
        if payload.action not in (*OPENED, PUSHED):
            return None
        name, number = payload.repository.full_name, payload.pull_request.number
        if not is_named_by(name, self.rules.repositories):
            raise DeniedError(f"{name} is not among the repositories of the settings (github.repositories)")
        repository = parse_repository(f"{self.rules.url}/{name}")
        pull = await self.reviews.host.get_pull_request(repository, number)
        if pull.draft or pull.state is not PullRequestState.OPEN:
            return None
        if not self.rules.own_login and pull.author.lower() == (await self.threads.own_login()).lower():
            return None
        async with self.lane.entered():
            if not await self._is_wanted(repository, pull, pushed=payload.action == PUSHED):
                return None
            task = await self._ask(repository, pull, incremental=payload.action == PUSHED)
        return Handled(f"reviewed by task {task.id}")

    async def _is_wanted(self, repository: Repository, pull: PullRequest, *, pushed: bool) -> bool:
        choice = await environment_for(self.intake, self.rules, repository)
        recipe = await self.reviews.recipe(repository, pull.base, choice)
        if pushed:
            return recipe.on_push
        return recipe.automatic or self.rules.review_all

    async def _ask(self, repository: Repository, pull: PullRequest, *, incremental: bool) -> Task:
        """Accept the review of this very head, once, whatever tells of it."""
        former = await self.reviews.known.of_pull_request(repository.address, pull.number)
        own = next((it for it in former if it.head == pull.head), None)
        if own is not None:
            return (await self.intake.task(own.task)).task
        by = asked_by(pull.author)
        text = f"review of {repository.address} {pull.number} {pull.head}"
        key = make_request_key("forge", text, b"", self.intake.now())
        kept = await self.intake.store.find_request(key.digest, key.at)
        if kept is not None:  # the server was killed before the review was noted
            task = (await self.intake.task(kept.task)).task
        else:
            await self.pace.check(repository, by)
            request = await self.reviews.prepare(
                ReviewRequest(
                    repository=repository.address,
                    number=pull.number,
                    incremental=incremental,
                    post=True,
                    environment=await environment_for(self.intake, self.rules, repository),
                )
            )
            task = await self.pace.submit(request, key, repository, by)
        await self.reviews.note(task)
        return task
