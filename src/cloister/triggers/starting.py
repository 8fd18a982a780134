"""Makes a task of a mention, or one more turn of the task whose pull request it is below."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import anyio
import anyio.to_thread

from cloister.errors import ConflictError, UnderWayError
from cloister.intake import Intake
from cloister.model.asked import Asked
from cloister.model.conversation import check_can_go_on
from cloister.model.publication import Publication
from cloister.model.request import EnvironmentName, Request
from cloister.model.request_key import RequestKey, make_request_key
from cloister.model.task import Repository, TaskId, TaskState
from cloister.model.thread import Comment, PlaceKind
from cloister.model.thread_context import with_context
from cloister.protocols import AskedStore, ForgeThreads, PublicationStore
from cloister.triggers.context import MOST_COMMENTS, Context, Surroundings, make_context
from cloister.triggers.gatekeeper import TriggerRules
from cloister.triggers.handling import LaterError, TurnUnderWayError
from cloister.triggers.mention import Mention

WAIT_SECONDS = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Starter:
    """Asks the front door as anybody does."""

    intake: Intake
    threads: ForgeThreads
    publications: PublicationStore
    store: AskedStore
    rules: TriggerRules

    async def start(self, mention: Mention, asked: Asked) -> Asked:
        """Return what was asked for, with its task. Repeatable: a second time finds the same task.

        UsageError and DeniedError as for `Intake.submit`; TurnUnderWayError while the task's last turn is not over.
        """
        text = f"{asked.key}\0{asked.at.isoformat()}"
        key = make_request_key("github", text, b"", asked.at)
        kept = await self.intake.store.find_request(key.digest, asked.at)
        own = await self._own(mention)
        if kept is not None:
            asked = replace(asked, task=kept.task, turn=kept.turn)
        try:
            return await (self._go_on(mention, asked, own, key) if own else self._begin(mention, asked, key))
        except UnderWayError as error:
            raise LaterError(str(error), seconds=1.0) from error

    async def _own(self, mention: Mention) -> Publication | None:
        """Return what Cloister made of a task, if that is what the mention is below: by the forge's ids, not names."""
        if not mention.thread.is_pull_request:
            return None
        head = await self.threads.pull_head(mention.repository, mention.thread.number)
        return await self.publications.of_pull_request(head.repository, head.number)

    async def _go_on(self, mention: Mention, asked: Asked, own: Publication, key: RequestKey) -> Asked:
        """One more turn of the task whose pull request it is."""
        context = await self._context(await self._around(mention, whole=False))
        asked = replace(asked, flags=context.flags)
        if asked.task is not None:
            return asked
        status = await self.intake.task(own.task)
        if status.state is not TaskState.FINISHED or await self.store.is_followed(own.task):
            raise TurnUnderWayError(f"the last turn of task {own.task} is not over", seconds=WAIT_SECONDS)
        check_can_go_on(status)
        words = mention.words or "Go on."
        try:
            task, turn = await self.intake.follow_up(
                own.task, with_context(words, context.text), key=key, asked_by=_asker(mention)
            )
        except ConflictError as error:
            if (await self.intake.task(own.task)).state is not TaskState.FINISHED:  # somebody else was faster
                raise TurnUnderWayError(str(error), seconds=WAIT_SECONDS) from error
            raise
        return replace(asked, task=task, turn=turn.number)

    async def _begin(self, mention: Mention, asked: Asked, key: RequestKey) -> Asked:
        """A task of its own: of a pull request at its head, else on the default branch."""
        around = await self._around(mention, whole=True)
        context, head = await self._context(around), around.head
        asked = replace(asked, flags=context.flags)
        ref = None
        if head is not None and head.is_open:
            ref = head.branch if head.own else head.commit
            asked = replace(asked, pushes_to=head.branch if head.own else None, from_fork=not head.own)
        if asked.task is not None:
            return asked
        request = Request(
            repository=mention.repository.address,
            prompt=with_context(_words(mention), context.text),
            ref=ref,
            foreign=asked.from_fork,
            environment=await environment_for(self.intake, self.rules, mention.repository),
        )
        task = await self.intake.submit(request, key, asked_by=_asker(mention))
        return replace(asked, task=TaskId(task.id))

    async def _context(self, around: Surroundings) -> Context:
        """Write it down, beside the loop: long texts are looked through."""
        return await anyio.to_thread.run_sync(make_context, around)

    async def _around(self, mention: Mention, *, whole: bool) -> Surroundings:
        """Ask for what is said there, and unless an agent knows it already, what is changed."""
        repository, thread, place = mention.repository, mention.thread, mention.comment.place
        comments = await self.threads.comments(repository, place, most=MOST_COMMENTS)
        head = files = None
        if thread.is_pull_request and whole:
            head = await self.threads.pull_head(repository, thread.number)
            files = await self.threads.changed_files(repository, thread.number)
        return Surroundings(
            thread=thread,
            comments=_others(comments, mention.comment),
            asked=mention.comment if place.kind is PlaceKind.LINE else None,
            head=head,
            files=files or (),
        )


async def environment_for(intake: Intake, rules: TriggerRules, repository: Repository) -> EnvironmentName | None:
    """Return the one of the settings, else the stored one that names the repository."""
    if rules.environment is not None:
        return EnvironmentName(name=rules.environment)
    wanted = _plain(repository.address)
    for stored in await intake.environments.list():
        found = (await intake.environments.describe(stored.name)).environment
        if found is not None and found.repository is not None and _plain(found.repository) == wanted:
            return EnvironmentName(name=stored.name)
    return None


def _others(comments: Sequence[Comment], asked: Comment) -> Sequence[Comment]:
    return [it for it in comments if it.place != asked.place]


def _words(mention: Mention) -> str:
    if mention.words:
        return mention.words
    kind = "pull request" if mention.thread.is_pull_request else "issue"  # whose title anybody may have written
    return f"Do what {kind} {mention.thread.number} asks for"


def _asker(mention: Mention) -> str:
    return f"github/{mention.person}"


def _plain(address: str) -> str:
    return address.lower().removesuffix("/").removesuffix(".git")
