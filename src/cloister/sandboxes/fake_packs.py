"""Packs that are there by being installed; nothing is fetched."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from cloister.errors import ConflictError, NotFoundError
from cloister.model.image import BuildProgress
from cloister.model.pack import Pack, PackRecipe, not_installed
from cloister.protocols import AgentPacks

_INSTALLED_AT = datetime(2026, 1, 1, tzinfo=UTC)


class FakeAgentPacks:
    """Keeps them in memory."""

    def __init__(self, installed: Iterable[PackRecipe] = ()) -> None:
        self._packs = {recipe.name: _pack_of(recipe) for recipe in installed}
        self._held: set[str] = set()

    async def install(self, recipe: PackRecipe, report: Callable[[BuildProgress], None]) -> Pack:
        """See `protocols.AgentPacks`."""
        report(BuildProgress("done", 1.0))
        self._packs[recipe.name] = _pack_of(recipe)
        return self._packs[recipe.name]

    async def find(self, name: str) -> Pack | None:
        """See `protocols.AgentPacks`."""
        return self._packs.get(name)

    @contextmanager
    def held(self, pack: Pack) -> Iterator[None]:
        """See `protocols.AgentPacks`."""
        if self._packs.get(pack.name) != pack:
            raise not_installed(pack.name)
        self._held.add(pack.name)
        try:
            yield
        finally:
            self._held.discard(pack.name)

    async def remove(self, name: str) -> None:
        """See `protocols.AgentPacks`."""
        if name in self._held:
            raise ConflictError(f"the agent {name!r} works in a sandbox now", hint="wait for its tasks")
        if self._packs.pop(name, None) is None:
            raise NotFoundError(f"agent {name!r} is not installed here", hint="see: cloister agent list")


def _pack_of(recipe: PackRecipe) -> Pack:
    digest = hashlib.sha256(f"{recipe.name} {recipe.version}".encode()).hexdigest()
    return Pack(
        name=recipe.name,
        version=recipe.version,
        digest=digest,
        size_bytes=4096,
        installed_at=_INSTALLED_AT,
        place=Path("/packs") / digest,
    )


def _conforms(packs: FakeAgentPacks) -> AgentPacks:
    return packs
