"""Where the results of checks are shown."""

from typing import Protocol

from cloister.model.check_report import CheckReport
from cloister.model.task import Repository


class CheckBoard(Protocol):
    """Results of checks at a forge, beside commits. Errors as for `ForgeHost`."""

    async def report(self, repository: Repository, report: CheckReport) -> None:
        """Show it, in place of what was told of the same commit under the same id. Repeatable.

        A forge, or a login, that has no place for annotations and texts shows title and address alone.
        """
        ...
