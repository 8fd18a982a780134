"""What is asked of the machines: images, agents and workers."""

from collections.abc import Sequence

from cloister.client.connection import Connection, Report, path_part, read_as
from cloister.model.image import Image
from cloister.model.pack import ListedAgent
from cloister.model.worker import Worker


class StockCalls(Connection):
    """Images, agents and workers."""

    __slots__ = ()

    async def images(self) -> Sequence[Image]:
        """The images on the server's machine, newest first."""
        return read_as(list[Image], await self._call("GET", "/images"))

    async def image(self, name: str) -> Image:
        """An image, by name or a unique beginning of its digest."""
        return read_as(Image, await self._call("GET", "/images/one", query={"name": name}))

    async def build_image(self, recipe: str, report: Report) -> Image:
        """Build an image from its recipe, from today's packages."""
        return read_as(Image, await self._carry_out("/images", {"recipe": recipe}, report))

    async def pull_image(self, reference: str, report: Report) -> Image:
        """Pull an image from its registry."""
        return read_as(Image, await self._carry_out("/images", {"reference": reference}, report))

    async def remove_image(self, name: str) -> Image:
        """Remove an image, by name or a unique beginning of its digest."""
        return read_as(Image, await self._call("DELETE", "/images", query={"name": name}))

    async def agents(self) -> Sequence[ListedAgent]:
        """The agents, by name, and what of them is installed."""
        return read_as(list[ListedAgent], await self._call("GET", "/agents"))

    async def install_agent(self, name: str, report: Report) -> ListedAgent:
        """Fetch an agent's packages, and make them what its next tasks run."""
        return read_as(ListedAgent, await self._carry_out(f"/agents/{path_part(name)}/install", None, report))

    async def remove_agent(self, name: str) -> None:
        """Remove an installed agent."""
        await self._call("DELETE", f"/agents/{path_part(name)}")

    async def workers(self) -> Sequence[Worker]:
        """The workers that live, and the attempts that each carries out."""
        return read_as(list[Worker], await self._call("GET", "/workers"))
