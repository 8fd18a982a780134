"""Where the results of checks are shown."""

from collections.abc import Sequence
from typing import Protocol

from cloister.model.check_report import CheckReport, FailedCheck
from cloister.model.sandbox import Commit
from cloister.model.task import Repository


class CheckBoard(Protocol):
    """Results of checks at a forge, beside commits. Errors as for `ForgeHost`."""

    async def report(self, repository: Repository, report: CheckReport) -> None:
        """Show it, in place of what was told of the same commit under the same id. Repeatable.

        A forge, or a login, that has no place for annotations and texts shows title and address alone.
        """
        ...

    async def failed(self, repository: Repository, commit: Commit) -> Sequence[FailedCheck]:
        """Return the newest of each name that failed of that commit, without Cloister's own; the first twenty."""
        ...
