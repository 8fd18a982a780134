"""What is asked of a repository before there is a task, and how one of this machine gets to the server."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import anyio

from cloister.api.requests import choice_to_fields, content_to_fields
from cloister.api.wire import BUNDLE
from cloister.client.connection import Connection, path_part, read_as
from cloister.model.request import EnvironmentChoice, EnvironmentText, RepositoryFile
from cloister.repository_address import is_path

if TYPE_CHECKING:  # what reads environments is loaded by the methods that return it
    from cloister.importing import ImportedEnvironment
    from cloister.preview import CacheAnswer, Preview


_SENT_AT_ONCE = 1024 * 1024


class RepositoryCalls(Connection):
    """Repositories, here and elsewhere."""

    __slots__ = ()

    async def preview(self, repository: str, ref: str | None, environment: EnvironmentChoice | None) -> "Preview":
        """Say what a task on that repository would do to be ready, without accepting one."""
        from cloister.preview import Preview

        fields = {
            "repository": await self._reachable(repository),
            "ref": ref,
            "environment": choice_to_fields(environment),
        }
        return read_as(Preview, await self._call("POST", "/previews", fields))

    async def why(self, repository: str, ref: str | None, environment: EnvironmentChoice | None) -> "CacheAnswer":
        """Say whether a task on that repository would find a kept disk, and why not."""
        from cloister.preview import CacheAnswer

        fields = {
            "repository": await self._reachable(repository),
            "ref": ref,
            "environment": choice_to_fields(environment),
        }
        return read_as(CacheAnswer, await self._call("POST", "/previews/cache", fields))

    async def import_environment(
        self, repository: str, ref: str | None, path: str | None = None
    ) -> "ImportedEnvironment":
        """Make an environment file of what the repository says to other services."""
        from cloister.importing import ImportedEnvironment

        fields = {"repository": await self._reachable(repository), "ref": ref, "path": path}
        return read_as(ImportedEnvironment, await self._call("POST", "/imports", fields))

    async def send_repository(self, path: Path) -> str:
        """Send all branches and tags of a repository on this machine; returns its address, for other requests.

        It is this caller's alone. NotFoundError, UsageError.
        """
        from cloister.bundling import bundled  # loads git, for who sends anything

        async with bundled(path) as bundle:
            if bundle.note is not None:
                self._note(bundle.note)
            query = {} if bundle.head is None else {"head": bundle.head}
            headers = {"Content-Type": BUNDLE, "Content-Length": str(bundle.path.stat().st_size)}
            place, content = f"/bundles/{path_part(bundle.name)}", _File(bundle.path)
            response = await self._send("PUT", place, content=content, headers=headers, params=query)
        return str(response.json()["repository"])

    async def _reachable(self, repository: str) -> str:
        """Return the address by which the server finds a repository of ours."""
        if not self._is_far or not is_path(repository):
            return repository
        path = repository if repository.startswith("/") else unquote(urlsplit(repository).path)
        return await self.send_repository(Path(path))

    async def _reachable_content(self, content: EnvironmentText | RepositoryFile) -> dict[str, Any]:
        if isinstance(content, RepositoryFile):
            content = replace(content, repository=await self._reachable(content.repository))
        return content_to_fields(content)


@dataclass(frozen=True, slots=True)
class _File:
    """The body of a request that may be sent again."""

    path: Path

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async with await anyio.open_file(self.path, "rb") as file:
            while part := await file.read(_SENT_AT_ONCE):
                yield part
