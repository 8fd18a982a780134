"""A snapshot catalogue in memory, as strict as the real one."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from cloister.model.snapshot import SnapshotKey, SnapshotRecord
from cloister.protocols import SnapshotCatalog

OnCall = Callable[[str, str], Awaitable[None]]
"""Told of each call before it takes effect, as (key, call). What it raises, the call raises."""


class FakeSnapshotCatalog:
    """Snapshot records in memory."""

    def __init__(self, records: Sequence[SnapshotRecord] = (), *, on_call: OnCall | None = None) -> None:
        self._records = {record.key: record for record in records}
        self._on_call = on_call

    async def find_newest(self, environment: str, repository: str, *, ref: str | None = None) -> SnapshotRecord | None:
        """See `protocols.SnapshotCatalog`."""
        wanted = (environment, repository, ref, None)
        records = await self.list()
        return next((r for r in records if (r.environment, r.repository, r.ref, r.attempt) == wanted), None)

    async def find(self, key: SnapshotKey) -> SnapshotRecord | None:
        """See `protocols.SnapshotCatalog`."""
        return self._records.get(key)

    async def add(self, record: SnapshotRecord) -> None:
        """See `protocols.SnapshotCatalog`."""
        if self._on_call is not None:
            what = "final disk" if record.attempt else "snapshot"
            await self._on_call("", f"remember the {what} of {record.environment}")
        self._records[record.key] = record

    async def mark_used(self, keys: Collection[SnapshotKey], at: datetime) -> None:
        """See `protocols.SnapshotCatalog`."""
        assert at.tzinfo is not None, "a naive time"
        for key in keys:
            self._change(key, last_used_at=at)

    async def set_size(self, key: SnapshotKey, size_bytes: int) -> None:
        """See `protocols.SnapshotCatalog`."""
        assert size_bytes >= 0, "a size below nothing"
        self._change(key, size_bytes=size_bytes)

    def _change(self, key: SnapshotKey, **fields: Any) -> None:
        if key in self._records:
            self._records[key] = replace(self._records[key], **fields)

    async def remove(self, key: SnapshotKey) -> None:
        """See `protocols.SnapshotCatalog`."""
        self._records.pop(key, None)

    async def list(self) -> Sequence[SnapshotRecord]:
        """See `protocols.SnapshotCatalog`."""
        return sorted(self._records.values(), key=lambda record: (record.created_at, record.key), reverse=True)


def _conforms(catalog: FakeSnapshotCatalog) -> SnapshotCatalog:
    return catalog
