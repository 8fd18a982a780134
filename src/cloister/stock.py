"""What this machine makes sandboxes from: images, and the programs of agents."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from cloister.errors import NotFoundError
from cloister.model.image import BuildProgress, Image
from cloister.model.pack import ListedAgent, PackRecipe
from cloister.model.reference import parse_reference
from cloister.model.sandbox import ImageDigest
from cloister.model.snapshot import stands_on
from cloister.protocols import Agent, AgentPacks, ImageKeeper, SandboxBackend, SnapshotCatalog

Report = Callable[[BuildProgress], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stock:
    """The part of the front door that keeps images and agents."""

    images: ImageKeeper
    packs: AgentPacks
    agents: Mapping[str, Agent]
    """By name."""
    backend: SandboxBackend
    catalog: SnapshotCatalog

    async def check_recipe(self, name: str) -> None:
        """Raise NotFoundError when there is no such recipe of an image."""
        known = await self.images.names()
        if name not in known:
            raise NotFoundError(f"there is no image {name!r}; known: {', '.join(known)}")

    async def build_image(self, name: str, report: Report) -> Image:
        """Build an image from its recipe, from today's packages. NotFoundError; SandboxError."""
        await self.check_recipe(name)
        return await self.images.build(name, report)

    async def pull_image(self, text: str, report: Report) -> Image:
        """Pull an image from its registry. UsageError for what is no reference; SandboxError."""
        parse_reference(text)
        return await self.images.pull(text, report)

    async def remove_image(self, name: str) -> Image:
        """Remove an image, by name or a unique beginning of its digest. NotFoundError; ConflictError while in use."""
        found = await self.images.look_up(name)
        snapshots = await self.catalog.list()
        sandboxes = await self.backend.list()

        def in_use(digest: ImageDigest) -> bool:
            return bool(sandboxes) or any(stands_on(record, digest) for record in snapshots)

        await self.images.remove(name, in_use=in_use)
        return found

    async def list_agents(self) -> Sequence[ListedAgent]:
        """All agents, by name."""
        return [await self._listed(agent) for _, agent in sorted(self.agents.items())]

    def recipe_of(self, agent: str) -> PackRecipe:
        """Return what an agent's pack is made of. NotFoundError when there is no such agent, or it needs none."""
        packed = {name: known.pack for name, known in self.agents.items() if known.pack is not None}
        if agent in packed:
            return packed[agent]
        if agent in self.agents:
            raise NotFoundError(f"the agent {agent!r} needs nothing to be installed", hint="see: cloister agent list")
        raise NotFoundError(f"there is no agent {agent!r} to install; known: {', '.join(sorted(packed))}")

    async def install_agent(self, name: str, report: Report) -> ListedAgent:
        """Fetch an agent's packages, and make them what its next tasks run. Errors as for `AgentPacks.install`."""
        await self.packs.install(self.recipe_of(name), report)
        return await self._listed(self.agents[name])

    async def remove_agent(self, name: str) -> None:
        """Remove an installed agent. NotFoundError; ConflictError while it works somewhere."""
        await self.packs.remove(self.recipe_of(name).name)

    async def _listed(self, agent: Agent) -> ListedAgent:
        pack = await self.packs.find(agent.name)
        return ListedAgent(
            agent=agent.name,
            installed=pack.version if pack else None,
            digest=pack.digest if pack else None,
            size_bytes=pack.size_bytes if pack else None,
            installed_at=pack.installed_at if pack else None,
            known=agent.pack.version if agent.pack else None,
            api=agent.api,
            needs=agent.pack.needs if agent.pack else None,
        )
