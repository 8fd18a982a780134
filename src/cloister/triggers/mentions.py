"""`@NAME ...` at a forge starts a task, goes on with one, or is a command; labels and assignments may start one too."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import anyio
import anyio.to_thread

from cloister.audit import Audit
from cloister.errors import CloisterError, DeniedError, NotFoundError, UsageError
from cloister.model.asked import Asked
from cloister.model.audit import AuditEntry
from cloister.model.inbox import Arrived
from cloister.model.task import Repository
from cloister.model.thread import Comment, Reaction, Thread
from cloister.protocols import AskedStore, ForgeThreads
from cloister.triggers.answer_text import OWN_MARK, mark_of, queued_text, refused_text, taken_text
from cloister.triggers.gatekeeper import Gatekeeper
from cloister.triggers.handling import Handled, TurnUnderWayError
from cloister.triggers.mention import Command, Mention
from cloister.triggers.mention_text import find_mention, may_mention
from cloister.triggers.pointers import KINDS, Pointer, find_pointer
from cloister.triggers.starting import Starter

WINDOW = timedelta(hours=1)
"""For which tasks are counted."""
LONGEST_WAIT = timedelta(days=1)
"""For a turn that is not over, before somebody who asked for the next is told so."""
_MOST_SEARCHED = 100
_BOT = "[bot]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mentions:
    """A `Handler`."""

    gatekeeper: Gatekeeper
    threads: ForgeThreads
    store: AskedStore
    starter: Starter
    audit: Audit
    now: Callable[[], datetime]
    """Aware, UTC."""
    public_url: str | None = None
    commands: Mapping[str, Command] = field(default_factory=dict)
    """By their word. Reviews are one."""
    kinds: frozenset[str] = KINDS
    _starting: anyio.Lock = field(default_factory=anyio.Lock)

    async def handle(self, arrived: Arrived) -> Handled | None:
        """See `handling.Handler`."""
        pointer = find_pointer(arrived)
        if pointer is None or not await self._is_of_interest(pointer):
            return None
        repository = await self.gatekeeper.let_in(pointer.repository, pointer.sender, is_bot=pointer.is_bot)
        mention = await self._look(pointer, repository)
        if mention is None:
            return Handled("it is not there any more, or asks for nothing")
        word = mention.words.split(maxsplit=1)[0].lower().rstrip(":,.!") if mention.words else ""
        if (command := self.commands.get(word)) is not None:
            return await command.run(mention)
        return await self._start(mention, arrived)

    async def name(self) -> str:
        """Return what is to be mentioned."""
        return self.gatekeeper.rules.mention or (await self.threads.own_login()).removesuffix(_BOT)

    async def _is_of_interest(self, pointer: Pointer) -> bool:
        rules = self.gatekeeper.rules
        if pointer.label is not None:
            return rules.label is not None and pointer.label.lower() == rules.label.lower()
        if pointer.assignee is not None:
            return rules.assign and pointer.assignee.lower() == (await self.threads.own_login()).lower()
        return "@" in pointer.text and may_mention(pointer.text, await self.name())

    async def _find(self, text: str) -> str | None:
        """Look for a mention, beside the loop: a long text takes a while."""
        return await anyio.to_thread.run_sync(find_mention, text, await self.name())

    async def _look(self, pointer: Pointer, repository: Repository) -> Mention | None:
        """Return what is at the forge now; None when that asks for nothing."""
        comment = await self.threads.find(repository, pointer.place)
        if comment is None or comment.place.number != pointer.place.number:
            return None
        thread = await self.threads.thread(repository, pointer.place.number)
        if pointer.label is not None or pointer.assignee is not None:
            return self._of_sign(pointer, repository, comment, thread)
        words = await self._find(comment.body)
        if words is None or comment.author.lower() != pointer.sender.lower() or OWN_MARK in comment.body:
            return None
        return Mention(
            key=pointer.key,
            repository=repository,
            person=comment.author,
            words=words,
            comment=comment,
            thread=thread,
        )

    def _of_sign(self, pointer: Pointer, repository: Repository, comment: Comment, thread: Thread) -> Mention | None:
        """Of a label or an assignment, if that is still so."""
        signs = thread.labels if pointer.label is not None else thread.assignees
        wanted = pointer.label or pointer.assignee or ""
        if not thread.is_open or wanted.lower() not in {sign.lower() for sign in signs}:
            return None
        return Mention(
            key=pointer.key,
            repository=repository,
            person=pointer.sender,
            words="",
            comment=comment,
            thread=thread,
        )

    async def _start(self, mention: Mention, arrived: Arrived) -> Handled:
        """Make the task, unless it was made, and answer. What a killed server had begun is gone on with."""
        async with self._starting:  # so that many who ask at once are counted
            known = await self.store.find(mention.key)
            if known is None:
                known = Asked(
                    key=mention.key,
                    repository=mention.repository,
                    person=mention.person,
                    place=mention.comment.place,
                    at=self.now(),
                )
                if (said := await self._too_much(known)) is not None:
                    return await self._refuse(known, *said)
                await self.store.save(known)
        if known.outcome:
            return Handled(known.outcome)
        try:
            asked = known if known.task is not None else await self._begin(mention, known, arrived)
        except (UsageError, DeniedError) as error:
            return await self._refuse(known, str(error), tell=True)
        asked = await self._answer(asked)
        await self.store.save(replace(asked, next_at=self.now()))
        return Handled(f"task {asked.task}")

    async def _begin(self, mention: Mention, asked: Asked, arrived: Arrived) -> Asked:
        await self._react(asked, Reaction.TAKEN)
        if self.now() - asked.at > LONGEST_WAIT:
            raise UsageError("the task's last turn was not over for a day")
        try:
            started = await self.starter.start(mention, asked)
        except TurnUnderWayError as error:
            if arrived.outcome != str(error):  # else it was told when this was put off
                await self.store.save(await self._tell(asked, queued_text(asked.key)))
            raise
        await self.store.save(started)
        entry = AuditEntry(
            at=self.now(),
            who=f"github/{mention.person}",
            by=f"delivery {arrived.id}",
            role="",
            address="",
            method="POST",
            path="/webhooks/github",
            action="mention",
            about={"repository": mention.repository.address, "made": str(started.task)},
            status=201,
        )
        await self.audit.add(entry)
        return started

    async def _too_much(self, asked: Asked) -> tuple[str, bool] | None:
        """Return why this is too much for an hour, and whether that is to be told: once to each who asks."""
        rules, since = self.gatekeeper.rules, asked.at - WINDOW
        of_person = await self.store.count(since=since, person=asked.person)
        if of_person >= rules.per_person:
            return (
                f"{asked.person} has asked for {rules.per_person} tasks within an hour",
                of_person == rules.per_person,
            )
        of_repository = await self.store.count(since=since, repository=asked.repository.address)
        if of_repository >= rules.per_repository:
            said = f"{rules.per_repository} tasks were asked for within an hour in this repository"
            return said, of_repository == rules.per_repository
        return None

    async def _refuse(self, asked: Asked, reason: str, tell: bool) -> Handled:
        """Remember why nothing was begun, after having told it: it may be told again, and once begun it is over."""
        if tell:
            await self._react(asked, Reaction.FAILED)
            await self._tell(asked, refused_text(asked.key, f"{reason}."))
        await self.store.save(replace(asked, outcome=reason, next_at=None))
        return Handled(reason)

    async def _answer(self, asked: Asked) -> Asked:
        if asked.task is None or (asked.answer is not None and asked.next_at is not None):
            return asked  # `Following` has it by now
        page = f"{self.public_url}/tasks/{asked.task}" if self.public_url else None
        return await self._tell(asked, taken_text(asked.key, asked.task, page, asked.flags))

    async def _tell(self, asked: Asked, text: str) -> Asked:
        """Write below what was asked, once: what was, or may have been, written is looked for and changed."""
        own = (await self.threads.own_login()).lower()
        try:
            around = await self.threads.comments(asked.repository, asked.place, most=_MOST_SEARCHED)
            mark = mark_of(asked.key)
            found = next((it for it in around if it.author.lower() == own and it.body.startswith(mark)), None)
            if found is None and asked.answer is not None:
                return asked  # somebody deleted it
            if found is not None and found.body != text:
                await self.threads.edit(asked.repository, found.place, text)
            place = found.place if found else await self.threads.answer(asked.repository, asked.place, text)
        except (NotFoundError, DeniedError):  # it is locked, or gone: then the task alone says what comes of it
            return asked
        return replace(asked, answer=place)

    async def _react(self, asked: Asked, reaction: Reaction) -> None:
        """Leave a sign, where that can be done: what matters is the task."""
        try:
            await self.threads.react(asked.repository, asked.place, reaction)
        except CloisterError:
            return
