"""An image store whose images are there by being asked for."""

import hashlib
from collections.abc import Sequence

from cloister.errors import NotFoundError
from cloister.model.sandbox import ImageDigest
from cloister.protocols import ImageStore
from cloister.sandboxes.fake import FakeNode, OnCall, tell


class FakeImageStore:
    """Images that are built by being asked for."""

    def __init__(self, node: FakeNode, names: Sequence[str] = ("base",), *, on_call: OnCall | None = None) -> None:
        self._node = node
        self._names = sorted(names)
        self._on_call = on_call

    async def ensure(self, name: str) -> ImageDigest:
        """See `protocols.ImageStore`."""
        await tell(self._on_call, "", f"image {name}")
        if name not in self._names:
            raise NotFoundError(f"there is no image {name!r}; known: {', '.join(self._names)}")
        digest = ImageDigest(hashlib.sha256(name.encode()).hexdigest())
        self._node.images.add(digest)
        return digest

    async def find(self, name: str) -> ImageDigest | None:
        """See `protocols.ImageStore`."""
        digest = ImageDigest(hashlib.sha256(name.encode()).hexdigest())
        return digest if digest in self._node.images else None

    async def names(self) -> Sequence[str]:
        """See `protocols.ImageStore`."""
        return self._names

    async def registries(self, digest: ImageDigest) -> Sequence[str]:
        """See `protocols.ImageStore`."""
        await tell(self._on_call, "", "registries of the image")
        if digest not in self._node.images:
            raise NotFoundError(f"there is no image {digest[:12]} on this node")
        return ("registry.example.com",)


def _conforms(images: FakeImageStore) -> ImageStore:
    return images
