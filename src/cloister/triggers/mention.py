"""A mention, as it was found at the forge, and what a word after the name may stand for."""

from dataclasses import dataclass
from typing import Protocol

from cloister.model.task import Repository
from cloister.model.thread import Comment, Thread
from cloister.triggers.handling import Handled


@dataclass(frozen=True, slots=True, kw_only=True)
class Mention:
    """Somebody who may asks for work."""

    key: str
    """Of what was written, once for ever; see `Asked.key`."""
    repository: Repository
    person: str
    """Login."""
    words: str
    """What is asked, without the name; empty when an issue itself is what is asked."""
    comment: Comment
    """Where it was written, as it is now."""
    thread: Thread


class Command(Protocol):
    """What `@NAME word ...` does in place of a task. Repeatable; errors as for `Handler`."""

    @property
    def word(self) -> str:
        """The first word, in lower case, such as `review`."""
        ...

    async def run(self, mention: Mention) -> Handled:
        """Do it, and answer in the thread."""
        ...
