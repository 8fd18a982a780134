"""The disks that setup leaves: what is kept, what is checked, taken elsewhere and forgotten."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from cloister.errors import ConflictError, NotFoundError
from cloister.model.image import BuildProgress
from cloister.model.reference import parse_reference
from cloister.model.snapshot import CheckedDisk, SnapshotKey, SnapshotRecord, may_hold_secrets
from cloister.model.snapshot_export import Compression, Export
from cloister.protocols import SandboxBackend, SnapshotCatalog, SnapshotExporter
from cloister.removal import remove_snapshots, with_those_above
from cloister.repository_address import parse_repository


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshots:
    """The part of the front door that keeps snapshots."""

    catalog: SnapshotCatalog
    backend: SandboxBackend
    exporter: SnapshotExporter
    check_host: Callable[[str, int], Awaitable[None]]
    """Raises DeniedError for a host and port of a registry where no caller from elsewhere sends us."""
    now: Callable[[], datetime]
    """Aware, UTC."""

    async def list(self) -> Sequence[SnapshotRecord]:
        """All kept snapshots, newest first; without the final disks of attempts, which are for follow-ups alone."""
        records = [record for record in await self.catalog.list() if record.attempt is None]
        return [await self._with_digest(record) for record in records]

    async def get(self, key: str) -> SnapshotRecord:
        """Return a kept snapshot, by its key or a unique beginning. NotFoundError; ConflictError for several."""
        snapshots = [record for record in await self.catalog.list() if record.attempt is None]
        found = [record for record in snapshots if key and record.key.startswith(key)]
        if not found:
            raise NotFoundError(f"there is no snapshot {key!r}", hint="see: cloister snapshot list")
        if len(found) > 1:
            raise ConflictError(f"{key!r} begins {len(found)} snapshots' keys; give more of it")
        return found[0]

    async def check(self, key: str) -> Sequence[CheckedDisk]:
        """Read a snapshot's disk again, and those below it, topmost first. Errors as for `get`; SandboxError."""
        return await self.backend.check_snapshot((await self.get(key)).key)

    async def get_exportable(self, key: str) -> SnapshotRecord:
        """Return what `get` does. ConflictError also when secrets may be on its disk."""
        record = await self.get(key)
        if may_hold_secrets(record):
            raise ConflictError(
                f'the snapshot {record.key[:12]} may hold secrets: its environment has residue = "allow"',
                hint='have it made anew with residue = "refuse" or "scrub" in [setup]',
            )
        return record

    async def check_registry(self, text: str) -> None:
        """Raise DeniedError when a reference leads where nobody from elsewhere sends us; UsageError when it is none."""
        await self.check_host(*parse_reference(text).endpoint)

    async def export(
        self, key: str, text: str, report: Callable[[BuildProgress], None], *, compression: Compression = "gzip"
    ) -> str:
        """Push a snapshot, by its key or a unique beginning, to the reference `text`; return the image's digest.

        UsageError for what is no reference; errors of `get_exportable` and the exporter.
        """
        reference = parse_reference(text)
        record = await self.get_exportable(key)
        directory = parse_repository(record.repository).directory
        export = Export(record=record, reference=reference, directory=directory, compression=compression)
        return await self.exporter.export(export, report)

    async def remove(self, key: str) -> SnapshotKey:
        """Forget a snapshot, by its key or a unique beginning, and the final disks that stand on it.

        NotFoundError; ConflictError while it is in use otherwise.
        """
        found = await self.get(key)
        above = with_those_above([found], await self.catalog.list())
        await remove_snapshots([record for record in above if record.attempt is not None], self.catalog, self.backend)
        await self.backend.remove_snapshot(found.key)
        await self.catalog.remove(found.key)
        return found.key

    async def reset(self, environment: str) -> int:
        """Forget every snapshot of an environment, and return how many: its next task runs setup.

        So are the final disks of its attempts: a follow-up starts without them.

        One that a sandbox stands on is expired at once, and removed when nothing stands on it any more.
        NotFoundError when it has none.
        """
        records = await self.catalog.list()
        own = [record for record in records if record.environment == environment]
        if not own:
            known = ", ".join(sorted({record.environment for record in records})) or "none"
            raise NotFoundError(f"environment {environment!r} has no snapshots; those that have some: {known}")
        removed = await remove_snapshots(own, self.catalog, self.backend)
        for record in own:
            if record not in removed:
                await self.catalog.add(replace(record, expires_at=self.now()))
        return sum(record.attempt is None for record in own)

    async def _with_digest(self, record: SnapshotRecord) -> SnapshotRecord:
        return replace(record, digest=await self.backend.digest_of_snapshot(record.key))
