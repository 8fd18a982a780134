"""The table of the audit. Nothing in it is ever changed or removed: the database itself refuses that."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, insert, select

from cloister.model.audit import AuditEntry, AuditFilter
from cloister.protocols import AuditStore
from cloister.stores.database import Database
from cloister.stores.schema import AUDIT

_INSERT = insert(AUDIT)
REFUSED = (401, 403, 429)


class SqlAuditStore:
    """`AuditStore` over the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, entry: AuditEntry) -> None:
        """Not synced by itself, but before whatever is synced after it."""
        row = {
            "at": entry.at,
            "who": entry.who,
            "by": entry.by,
            "role": entry.role,
            "address": entry.address,
            "method": entry.method,
            "path": entry.path,
            "action": entry.action,
            "about": dict(entry.about),
            "fields": list(entry.fields),
            "status": entry.status,
        }
        await self._database.transact(lambda connection: connection.execute(_INSERT, row))

    async def list(self, wanted: AuditFilter, *, limit: int, before: int | None = None) -> Sequence[AuditEntry]:
        """By the order in which they were kept."""
        columns, query = AUDIT.c, select(AUDIT).order_by(AUDIT.c.number.desc()).limit(limit)
        if before is not None:
            query = query.where(columns.number < before)
        if wanted.who is not None:
            query = query.where(columns.who == wanted.who)
        if wanted.action is not None:
            query = query.where(columns.action.startswith(wanted.action, autoescape=True))
        if wanted.since is not None:
            query = query.where(columns.at >= wanted.since)
        if wanted.until is not None:
            query = query.where(columns.at < wanted.until)
        if wanted.refused:
            query = query.where(columns.status.in_(REFUSED))
        return [_row_to_entry(row) for row in await self._database.all(query)]


def _row_to_entry(row: Row[Any]) -> AuditEntry:
    return AuditEntry(
        number=row.number,
        at=row.at,
        who=row.who,
        by=row.by,
        role=row.role,
        address=row.address,
        method=row.method,
        path=row.path,
        action=row.action,
        about=row.about,
        fields=tuple(row.fields),
        status=row.status,
    )


_: type[AuditStore] = SqlAuditStore
