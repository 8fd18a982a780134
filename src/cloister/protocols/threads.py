"""Where people and Cloister talk at a forge."""

from collections.abc import Sequence
from typing import Protocol

from cloister.model.task import Repository
from cloister.model.thread import ChangedFile, Comment, Permission, Place, PullHead, Reaction, Thread


class ForgeThreads(Protocol):
    """Issues, pull requests and comments. Errors are those of `ForgeHost`; DeniedError in a locked thread."""

    async def own_login(self) -> str:
        """Return the login that Cloister writes as."""
        ...

    async def permission(self, repository: Repository, login: str) -> Permission:
        """Return what somebody may do there, as the forge says now."""
        ...

    async def thread(self, repository: Repository, number: int) -> Thread:
        """Return an issue or pull request. NotFoundError."""
        ...

    async def pull_head(self, repository: Repository, number: int) -> PullHead:
        """Return where a pull request begins and ends. NotFoundError."""
        ...

    async def changed_files(self, repository: Repository, number: int) -> Sequence[ChangedFile]:
        """Return the files of a pull request, the first hundred."""
        ...

    async def find(self, repository: Repository, place: Place) -> Comment | None:
        """Return what was written there, as it is now; None when it was deleted."""
        ...

    async def comments(self, repository: Repository, place: Place, *, most: int) -> Sequence[Comment]:
        """Return the newest comments around a place, oldest first: below the issue, or in the thread on those lines."""
        ...

    async def answer(self, repository: Repository, place: Place, body: str) -> Place:
        """Write below a place, in its thread. Not repeatable: look for it among the comments first."""
        ...

    async def edit(self, repository: Repository, place: Place, body: str) -> None:
        """Replace a comment of one's own. NotFoundError when somebody deleted it."""
        ...

    async def react(self, repository: Repository, place: Place, reaction: Reaction) -> None:
        """Leave a sign; the same twice is one. NotFoundError when what was written is gone."""
        ...
