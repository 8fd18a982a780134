"""An image store whose images are there by being asked for."""

import hashlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from cloister.errors import ConflictError, NotFoundError
from cloister.model.image import BuildProgress, Image, Toolchain
from cloister.model.reference import parse_reference
from cloister.model.sandbox import ImageDigest
from cloister.protocols import ImageKeeper
from cloister.sandboxes.fake import FakeNode, OnCall, tell

_CREATED_AT = datetime(2026, 1, 1, tzinfo=UTC)


class FakeImageStore:
    """Images that are built by being asked for."""

    def __init__(
        self,
        node: FakeNode,
        names: Sequence[str] = ("base",),
        *,
        toolchains: Sequence[Toolchain] = (),
        on_call: OnCall | None = None,
    ) -> None:
        self._node = node
        self._names = sorted(names)
        self._toolchains = tuple(toolchains)
        self._on_call = on_call

    async def build(self, name: str, progress: Callable[[BuildProgress], None]) -> Image:
        """See `protocols.ImageKeeper`."""
        progress(BuildProgress("done", 1.0))
        return await self.describe(await self.ensure(name))

    async def pull(self, text: str, progress: Callable[[BuildProgress], None]) -> Image:
        """See `protocols.ImageKeeper`; every reference leads to something."""
        parse_reference(text)
        self._names = sorted({*self._names, text})
        return await self.build(text, progress)

    async def list(self) -> Sequence[Image]:
        """See `protocols.ImageKeeper`."""
        there = [name for name in self._names if _digest_of(name) in self._node.images]
        return [await self.describe(_digest_of(name)) for name in there]

    async def look_up(self, name_or_digest: str) -> Image:
        """See `protocols.ImageKeeper`."""
        for image in await self.list():
            if image.name == name_or_digest or (name_or_digest and image.digest.startswith(name_or_digest)):
                return image
        raise NotFoundError(f"there is no image {name_or_digest!r} on this node")

    async def remove(self, name_or_digest: str, *, in_use: Callable[[ImageDigest], bool]) -> None:
        """See `protocols.ImageKeeper`."""
        image = await self.look_up(name_or_digest)
        if in_use(image.digest):
            raise ConflictError(f"the image {name_or_digest} is in use")
        self._node.images.remove(image.digest)

    async def ensure(self, name: str) -> ImageDigest:
        """See `protocols.ImageStore`."""
        await tell(self._on_call, "", f"image {name}")
        if name not in self._names:
            raise NotFoundError(f"there is no image {name!r}; known: {', '.join(self._names)}")
        digest = _digest_of(name)
        self._node.images.add(digest)
        return digest

    async def find(self, name: str) -> ImageDigest | None:
        """See `protocols.ImageStore`."""
        digest = _digest_of(name)
        return digest if digest in self._node.images else None

    async def names(self) -> Sequence[str]:
        """See `protocols.ImageStore`."""
        return self._names

    async def describe(self, digest: ImageDigest) -> Image:
        """See `protocols.ImageStore`."""
        await tell(self._on_call, "", "describe the image")
        name = next((name for name in self._names if _digest_of(name) == digest), None)
        if name is None or digest not in self._node.images:
            raise NotFoundError(f"there is no image {digest[:12]} on this node")
        return Image(
            name=name,
            digest=digest,
            created_at=_CREATED_AT,
            size_bytes=0,
            packages={},
            registries=("registry.example.com",),
            toolchains=self._toolchains,
        )


def _digest_of(name: str) -> ImageDigest:
    return ImageDigest(hashlib.sha256(name.encode()).hexdigest())


def _conforms(images: FakeImageStore) -> ImageKeeper:
    return images
