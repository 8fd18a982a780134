"""From a reference to a tree that becomes an image: fetched, checked, and laid out without following its links."""

import os
import shutil
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from anyio import to_thread

from cloister.model.image import BuildProgress
from cloister.model.reference import ImageReference
from cloister.sandboxes.oci.image_layer import Allowance, LayerReader
from cloister.sandboxes.oci.image_registry import FetchedImage, fetch_image
from cloister.sandboxes.oci.image_unpack import unpack_layer

_UNPACKING_FROM, _UNPACKING_TO = 0.5, 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Puller:
    """Pulls images within bounds."""

    allowance: Callable[[], Allowance] = field(default=Allowance)
    """What one image may take up."""

    async def pull(
        self, reference: ImageReference, folder: Path, report: Callable[[BuildProgress], None]
    ) -> FetchedImage:
        """Make the image's tree at `folder`/rootfs, owned as inside. Errors are those of `fetch_image` and layers."""
        report(BuildProgress("fetching", 0.0))
        fetched = await fetch_image(reference, folder)
        root = folder / "rootfs"
        root.mkdir(mode=0o755)
        allowance = self.allowance()
        share = (_UNPACKING_TO - _UNPACKING_FROM) / max(len(fetched.layers), 1)
        for number, layer in enumerate(fetched.layers):
            report(BuildProgress("unpacking", _UNPACKING_FROM + number * share))
            reader = LayerReader(layer.archive, name=layer.digest, diff_id=layer.diff_id, allowance=allowance)
            await to_thread.run_sync(unpack_layer, root, reader, layer.digest)
            layer.archive.unlink(missing_ok=True)  # a layer may be there twice
        await to_thread.run_sync(shutil.rmtree, folder / "blobs")
        return fetched


def has_plain_file(root: Path, path: str) -> bool:
    """Whether `path` in a tree that others made is a file that is reached without a link."""
    place = root
    *parents, name = path.split("/")
    for part in parents:
        place /= part
        if not _is(stat.S_ISDIR, place):
            return False
    return _is(stat.S_ISREG, place / name)


def _is(kind: Callable[[int], bool], path: Path) -> bool:
    try:
        return kind(os.lstat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
