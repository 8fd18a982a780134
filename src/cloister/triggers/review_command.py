"""`@NAME review`, `@NAME review for ...`: a person asks for a review of a pull request."""

from dataclasses import dataclass, field

from cloister.errors import CloisterError, DeniedError, NotFoundError, UsageError
from cloister.intake import Intake
from cloister.model.choice import best_attempt
from cloister.model.request import ReviewRequest
from cloister.model.request_key import make_request_key
from cloister.model.review import KnownReview
from cloister.model.task import Task
from cloister.model.thread import Reaction
from cloister.protocols import ForgeThreads
from cloister.reviews import Reviews
from cloister.triggers.answer_text import mark_of, refused_text
from cloister.triggers.gatekeeper import TriggerRules
from cloister.triggers.handling import Handled, LaterError
from cloister.triggers.mention import Mention
from cloister.triggers.reviewing import ReviewPace, asked_by
from cloister.triggers.slow_lane import SlowLane
from cloister.triggers.starting import environment_for

ONLY_NEW = ("new", "new commits", "incremental")
"""Behind the word `review`: only what came since the last one."""
_WAIT_SECONDS = 15.0
_MOST_SEARCHED = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewCommand:
    """A `Command`. What is found is the answer; what keeps it from being found is told."""

    rules: TriggerRules
    threads: ForgeThreads
    intake: Intake
    reviews: Reviews
    pace: ReviewPace
    lane: SlowLane = field(default_factory=SlowLane)
    word: str = "review"

    async def run(self, mention: Mention) -> Handled:
        """See `mention.Command`. LaterError until it is posted."""
        if not mention.thread.is_pull_request:
            return await self._refuse(mention, "this is no pull request, so there is nothing to review")
        try:
            task = await self._ask(mention)
        except (UsageError, DeniedError) as error:
            return await self._refuse(mention, str(error))
        known = await self.reviews.find(task.id)
        if known.posted is not None or known.idle:
            await self._react(mention, await self._sign(known))
            return Handled(f"reviewed by task {task.id}")
        if not known.waiting:
            return await self._refuse(mention, known.problem or "the review was not posted")
        raise LaterError(f"task {task.id} reviews", seconds=_WAIT_SECONDS)

    async def _ask(self, mention: Mention) -> Task:
        """Accept it, once for what was written."""
        key = make_request_key("github", f"review {mention.key}", b"", self.intake.now())
        if (kept := await self.intake.store.find_request(key.digest, key.at)) is not None:
            task = (await self.intake.task(kept.task)).task
            if await self.reviews.known.find(task.id) is None:  # the server was killed before it was noted
                await self.reviews.note(task)
            return task
        await self._react(mention, Reaction.TAKEN)
        by, (focus, only_new) = asked_by(mention.person), read_words(mention.words)
        await self.pace.check(mention.repository, by)
        asked = ReviewRequest(
            repository=mention.repository.address,
            number=mention.thread.number,
            focus=focus,
            incremental=only_new,
            post=True,
            environment=await environment_for(self.intake, self.rules, mention.repository),
        )
        async with self.lane.entered():
            task = await self.pace.submit(await self.reviews.prepare(asked), key, mention.repository, by)
        await self.reviews.note(task)
        return task

    async def _sign(self, known: KnownReview) -> Reaction:
        outcome = best_attempt(await self.intake.task(known.task)).outcome
        found = outcome.review.findings if outcome is not None and outcome.review is not None else ()
        return Reaction.DONE if found else Reaction.FINE

    async def _refuse(self, mention: Mention, reason: str) -> Handled:
        """Say why below what was asked, once."""
        await self._react(mention, Reaction.FAILED)
        place, mark = mention.comment.place, mark_of(mention.key)
        own = (await self.threads.own_login()).lower()
        try:
            around = await self.threads.comments(mention.repository, place, most=_MOST_SEARCHED)
            if not any(it.author.lower() == own and it.body.startswith(mark) for it in around):
                await self.threads.answer(mention.repository, place, refused_text(mention.key, f"{reason}."))
        except (NotFoundError, DeniedError):  # it is locked, or gone
            return Handled(reason)
        return Handled(reason)

    async def _react(self, mention: Mention, reaction: Reaction) -> None:
        """Leave a sign, where that can be done: what matters is the review."""
        try:
            await self.threads.react(mention.repository, mention.comment.place, reaction)
        except CloisterError:
            return


def read_words(words: str) -> tuple[str, bool]:
    """Return what to look for above all, and whether only what is new is of interest."""
    rest = words.split(maxsplit=1)[1].strip() if len(words.split(maxsplit=1)) > 1 else ""
    if " ".join(rest.lower().split()).rstrip(".!") in ONLY_NEW:
        return "", True
    return rest.removeprefix("for ").strip(), False
