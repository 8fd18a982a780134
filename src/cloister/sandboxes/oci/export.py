"""Pushes a prepared environment to a registry, as an ordinary image: that below the snapshot, and its layers."""

import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC
from functools import partial
from pathlib import Path

from anyio import from_thread, to_thread

from cloister.errors import DiskFullError, SandboxError, UsageError
from cloister.model.container import Foundation
from cloister.model.image import BuildProgress, Image
from cloister.model.reference import ImageReference, is_reference
from cloister.model.sandbox import WORKSPACE, ImageDigest
from cloister.model.snapshot import SnapshotRecord
from cloister.model.snapshot_export import Export
from cloister.protocols import SnapshotExporter
from cloister.sandboxes.oci.export_layer import pack_layer
from cloister.sandboxes.oci.export_layout import ImageLayout, image_configuration
from cloister.sandboxes.oci.image import OciImageStore
from cloister.sandboxes.oci.image_layer import Allowance
from cloister.sandboxes.oci.skopeo import architecture, run_skopeo, tls_option
from cloister.sandboxes.oci.snapshots import Snapshots

_OURS = "cloister"
"""The folder in the root that only sandboxes have."""
_LABEL = "org.opencontainers.image."
_PACKED = 0.8


@dataclass(frozen=True, slots=True)
class OciSnapshotExporter:
    """Exports snapshots of this node. What is being packed lies in `place`, and nothing stays there."""

    snapshots: Snapshots
    images: OciImageStore
    place: Path
    allowance: Callable[[], Allowance] = field(default=Allowance)
    """What one image may take up: as much as can be pulled."""

    async def export(self, export: Export, report: Callable[[BuildProgress], None]) -> str:
        """Push the image, and return its digest in the registry. The snapshot cannot be removed meanwhile.

        UsageError for a reference by digest; NotFoundError when snapshot or image are not here; SandboxError when the
        registry refuses, or the snapshot holds what no image can; DiskFullError; HostError without skopeo.
        """
        if export.reference.digest:
            raise UsageError(
                f"nothing can be pushed to {export.reference}: its digest is only known afterwards",
                hint=f"give a tag: {export.reference.name}:{export.reference.tag}",
            )
        with self._workbench() as folder, self.snapshots.held(export.record.key) as marker:
            image = await self.images.describe(ImageDigest(marker.image))
            digest = await to_thread.run_sync(self._pack, folder, export, image, partial(_tell, report))
            report(BuildProgress("pushing", _PACKED))
            await _push(folder, export.reference)
        report(BuildProgress("done", 1.0))
        return digest

    def sweep(self) -> None:
        """Remove what killed exports left."""
        with self._alone():
            for left in self.place.iterdir():
                with _locked_folder(left) as ours:
                    if ours:
                        shutil.rmtree(left)

    def _pack(self, folder: Path, export: Export, image: Image, report: Callable[[BuildProgress], None]) -> str:
        layout, allowance, record = ImageLayout(folder, export.compression), self.allowance(), export.record
        trees = [self.images.rootfs(image.digest), *reversed(self.snapshots.layers(record.key))]
        # The work tree's .git borrows its objects from a mirror that an image does not have.
        without = {_OURS, f"{WORKSPACE.lstrip('/')}/{export.directory}/.git"}
        for number, tree in enumerate(trees):
            report(BuildProgress(f"packing layer {number + 1} of {len(trees)}", _PACKED * number / len(trees)))
            made_by = f"image {image.name}" if number == 0 else f"setup of snapshot {record.key[:12]}"
            pack = partial(pack_layer, tree, without=without, allowance=allowance, check=from_thread.check_cancelled)
            layout.add_layer(pack, made_by=f"cloister: {made_by}")
        return layout.finish(
            image_configuration(
                architecture=architecture(),
                created=record.created_at.astimezone(UTC).isoformat(timespec="seconds"),
                variables=Foundation(path=record.path, variables=record.variables, image=image.variables).outside,
                cwd=f"{WORKSPACE}/{export.directory}",
                labels=labels_of(record, image),
            )
        )

    @contextmanager
    def _workbench(self) -> Iterator[Path]:
        """A folder that is locked while somebody works in it."""
        with self._alone():
            folder = Path(tempfile.mkdtemp(dir=self.place))
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        try:
            yield folder
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise DiskFullError(f"no space left in {self.place} to pack the snapshot") from error
            raise SandboxError(f"cannot pack the snapshot: {error}") from error
        finally:
            shutil.rmtree(folder)
            os.close(descriptor)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        self.place.mkdir(mode=0o700, exist_ok=True)
        with self.place.with_suffix(".lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def labels_of(record: SnapshotRecord, image: Image) -> Mapping[str, str]:
    """Return the labels that say where an image comes from (OCI image specification, "Annotations").

    A repository on this machine is not named: its path says nothing to others.
    """
    local = record.repository.startswith(("/", "file:"))
    labels = {
        "title": record.environment if record.environment != record.repository else "",
        "source": "" if local else record.repository,
        "revision": record.commit,
        "version": record.key,
        "base.name": image.name if is_reference(image.name) else "",
        "base.digest": image.source,
    }
    return {f"{_LABEL}{name}": value for name, value in labels.items() if value}


def _tell(report: Callable[[BuildProgress], None], progress: BuildProgress) -> None:
    from_thread.run_sync(report, progress)


@contextmanager
def _locked_folder(folder: Path) -> Iterator[bool]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield True
            return
        yield False
    finally:
        os.close(descriptor)


async def _push(folder: Path, reference: ImageReference) -> None:
    target = f"docker://{reference}"
    await run_skopeo(
        "copy", "--preserve-digests", tls_option("dest-", reference), f"oci:{folder}", target, shown=f"to {target}"
    )


_: type[SnapshotExporter] = OciSnapshotExporter
