"""Packs that are there by being installed; nothing is fetched."""

import hashlib
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

from cloister.errors import NotFoundError
from cloister.model.image import BuildProgress
from cloister.model.pack import Pack, PackRecipe
from cloister.protocols import AgentPacks

_INSTALLED_AT = datetime(2026, 1, 1, tzinfo=UTC)


class FakeAgentPacks:
    """Keeps them in memory."""

    def __init__(self, installed: Iterable[PackRecipe] = ()) -> None:
        self._packs = {recipe.name: _pack_of(recipe) for recipe in installed}

    async def install(self, recipe: PackRecipe, report: Callable[[BuildProgress], None]) -> Pack:
        """See `protocols.AgentPacks`."""
        report(BuildProgress("done", 1.0))
        self._packs[recipe.name] = _pack_of(recipe)
        return self._packs[recipe.name]

    async def find(self, name: str) -> Pack | None:
        """See `protocols.AgentPacks`."""
        return self._packs.get(name)

    async def remove(self, name: str) -> None:
        """See `protocols.AgentPacks`."""
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
