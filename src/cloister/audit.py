"""Keeps and shows the audit."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from cloister.model.audit import AuditEntry, AuditFilter
from cloister.protocols import AuditStore

MOST_OF_STRANGERS = 60
"""Entries a minute of callers whom nobody knows: they shall not fill the disk. The others are counted in the log."""

_LOG = structlog.get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class Audit:
    """The part of the front door that remembers who did what."""

    store: AuditStore
    now: Callable[[], datetime]
    """Aware, UTC."""
    _minute: datetime | None = field(default=None, init=False)
    _of_strangers: int = field(default=0, init=False)

    async def add(self, entry: AuditEntry) -> None:
        """Keep it. StoreError, DiskFullError."""
        if entry.who or not self._is_too_much(entry.at):
            await self.store.add(entry)
        else:
            _LOG.warning("not audited, too many of strangers", address=entry.address, path=entry.path)

    async def list(self, wanted: AuditFilter, *, limit: int, before: int | None = None) -> Sequence[AuditEntry]:
        """Return the newest that are wanted, newest first; only those with a number below `before`."""
        return await self.store.list(wanted, limit=limit, before=before)

    def _is_too_much(self, at: datetime) -> bool:
        if self._minute is None or not timedelta() <= at - self._minute < timedelta(minutes=1):
            self._minute, self._of_strangers = at, 0
        self._of_strangers += 1
        return self._of_strangers > MOST_OF_STRANGERS
