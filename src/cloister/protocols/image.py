"""Images, and disks that become some."""

from collections.abc import Callable, Sequence
from typing import Protocol

from cloister.model.image import BuildProgress, Image
from cloister.model.sandbox import ImageDigest
from cloister.model.snapshot_export import Export


class ImageStore(Protocol):
    """Base root file systems on this node, by name and digest."""

    async def ensure(self, name: str) -> ImageDigest:
        """Return the digest of the image `name`, building its recipe first when it was never built.

        `name` may be the reference of an image that was pulled; NotFoundError when it was not.

        Concurrent callers, in this and other processes, build once. NotFoundError names the known recipes.
        """
        ...

    async def find(self, name: str) -> ImageDigest | None:
        """Return what `ensure` would without building; None when it would have to build, or knows no such name."""
        ...

    async def names(self) -> Sequence[str]:
        """Every name that `ensure` accepts, built or not, sorted."""
        ...

    async def describe(self, digest: ImageDigest) -> Image:
        """What is known of an image. NotFoundError when it is not whole on this node."""
        ...


class ImageKeeper(ImageStore, Protocol):
    """An image store that is told what to keep."""

    async def build(self, name: str, progress: Callable[[BuildProgress], None]) -> Image:
        """Build a recipe anew, from today's packages; what was built before stays usable by its digest.

        NotFoundError names the known recipes; SandboxError, and then nothing has changed.
        """
        ...

    async def pull(self, text: str, progress: Callable[[BuildProgress], None]) -> Image:
        """Pull what a reference stands for now. UsageError when it is none; SandboxError, and nothing has changed."""
        ...

    async def list(self) -> Sequence[Image]:
        """Every whole image, newest first."""
        ...

    async def look_up(self, name_or_digest: str) -> Image:
        """Return an image, by name or by a unique beginning of its digest. NotFoundError, ConflictError."""
        ...

    async def remove(self, name_or_digest: str, *, in_use: Callable[[ImageDigest], bool]) -> None:
        """Forget an image. Errors as of `look_up`; ConflictError when `in_use` says that something stands on it."""
        ...


class SnapshotExporter(Protocol):
    """Pushes what setup left to registries."""

    async def export(self, export: Export, report: Callable[[BuildProgress], None]) -> str:
        """Push the image, and return its digest in the registry. The snapshot cannot be removed meanwhile.

        UsageError for a reference by digest; NotFoundError when snapshot or image are not here; SandboxError.
        """
        ...
