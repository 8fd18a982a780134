"""What is asked of stored environments, and of the disks that are kept of them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cloister.api.wire import Deleted
from cloister.client.connection import Report, path_part, read_as
from cloister.client.repositories import RepositoryCalls
from cloister.model.request import EnvironmentText, RepositoryFile
from cloister.model.snapshot import CheckedDisk, SnapshotKey, SnapshotRecord
from cloister.model.snapshot_export import Compression
from cloister.model.stored_environment import StoredEnvironment

if TYPE_CHECKING:  # what reads environments is loaded by the methods that return it
    from cloister.environments import EnvironmentReport


class EnvironmentCalls(RepositoryCalls):
    """Stored environments and snapshots."""

    __slots__ = ()

    async def create_environment(self, name: str, content: EnvironmentText | RepositoryFile) -> "EnvironmentReport":
        """Store a text under a name that is not in use."""
        from cloister.environments import EnvironmentReport

        fields = {"name": name, **await self._reachable_content(content)}
        return read_as(EnvironmentReport, await self._call("POST", "/environments", fields))

    async def edit_environment(
        self, name: str, content: EnvironmentText | RepositoryFile, *, base: int | None = None
    ) -> "EnvironmentReport":
        """Store the next version, made from version `base`, by default the newest."""
        from cloister.environments import EnvironmentReport

        fields = {"base": base, **await self._reachable_content(content)}
        return read_as(EnvironmentReport, await self._call("PUT", f"/environments/{path_part(name)}", fields))

    async def environment(self, name: str, version: int | None = None) -> "EnvironmentReport":
        """A stored environment, by default in its newest version."""
        from cloister.environments import EnvironmentReport

        query = {} if version is None else {"version": version}
        return read_as(EnvironmentReport, await self._call("GET", f"/environments/{path_part(name)}", query=query))

    async def environments(self) -> Sequence[StoredEnvironment]:
        """The stored environments in their newest versions, by name."""
        return read_as(list[StoredEnvironment], await self._call("GET", "/environments"))

    async def environment_versions(self, name: str) -> Sequence[StoredEnvironment]:
        """All versions of a stored environment, newest first, also of a deleted one."""
        return read_as(list[StoredEnvironment], await self._call("GET", f"/environments/{path_part(name)}/versions"))

    async def delete_environment(self, name: str, *, with_secrets: bool = False) -> tuple[Sequence[str], int]:
        """Take a stored environment out of use; return the secrets and the number of snapshots that were forgotten."""
        query = {"with_secrets": with_secrets}
        deleted = read_as(Deleted, await self._call("DELETE", f"/environments/{path_part(name)}", query=query))
        return deleted.secrets, deleted.snapshots

    async def snapshots(self) -> Sequence[SnapshotRecord]:
        """All kept snapshots, newest first."""
        return read_as(list[SnapshotRecord], await self._call("GET", "/snapshots"))

    async def check_snapshot(self, key: str) -> Sequence[CheckedDisk]:
        """Read a snapshot's disk again, and those below it, topmost first."""
        return read_as(list[CheckedDisk], await self._call("GET", f"/snapshots/{path_part(key)}/check"))

    async def reset_cache(self, environment: str) -> int:
        """Forget every snapshot of an environment, and return how many."""
        count: int = (await self._call("DELETE", "/snapshots", query={"environment": environment}))["snapshots"]
        return count

    async def remove_snapshot(self, key: str) -> SnapshotKey:
        """Forget a snapshot, by its key or a unique beginning; returns the full key."""
        return SnapshotKey((await self._call("DELETE", f"/snapshots/{path_part(key)}"))["key"])

    async def export_snapshot(
        self, key: str, reference: str, report: Report, *, compression: Compression = "gzip"
    ) -> str:
        """Push a snapshot to a registry, as an ordinary image; returns its digest there."""
        fields = {"reference": reference, "compression": compression}
        done = await self._carry_out(f"/snapshots/{path_part(key)}/export", fields, report)
        return str(done["digest"])
