"""Where reviews of pull requests are posted, and what is known of them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from cloister.model.event import Event
from cloister.model.review import KnownReview, NewReview, PostedReview
from cloister.model.task import Repository, TaskId


class ReviewBoard(Protocol):
    """Reviews at a forge. Errors as for `ForgeHost`."""

    async def find(self, repository: Repository, number: int, mark: str) -> PostedReview | None:
        """Return the review of Cloister's own login whose text has that mark; those of others do not count."""
        ...

    async def post(self, repository: Repository, number: int, review: NewReview) -> PostedReview:
        """Post a review that comments, and neither approves nor asks for changes. Not repeatable.

        UsageError when the forge does not take it as it is: a comment on a line that its diff does not show.
        """
        ...


class ReviewStore(Protocol):
    """What is known of reviews."""

    async def find(self, task: TaskId) -> KnownReview | None:
        """Return what is known of a task's."""
        ...

    async def of_pull_request(self, repository: str, number: int) -> Sequence[KnownReview]:
        """Return those of a pull request of the repository at that address, the newest first."""
        ...

    async def waiting(self) -> Sequence[KnownReview]:
        """Return those that are to be posted when their tasks are over, the oldest first."""
        ...

    async def save(self, review: KnownReview, at: datetime, events: Sequence[Event] = ()) -> None:
        """Keep it in place of what was known, with these events of the task; synced to disk when this returns."""
        ...
