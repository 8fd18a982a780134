"""What the sandboxes of one machine share."""

from dataclasses import dataclass
from pathlib import Path

from cloister.model.environment import Limits
from cloister.sandboxes.oci.claims import BuildClaims
from cloister.sandboxes.oci.containers import Containers
from cloister.sandboxes.oci.disk import volume_of
from cloister.sandboxes.oci.guard import Guard
from cloister.sandboxes.oci.image import OciImageStore
from cloister.sandboxes.oci.paths import NodePaths
from cloister.sandboxes.oci.snapshots import Snapshots
from cloister.sandboxes.oci.trash import Trash
from cloister.sandboxes.oci.volume import Volumes


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """Made once, when the backend is opened."""

    paths: NodePaths
    images: OciImageStore
    snapshots: Snapshots
    claims: BuildClaims
    containers: Containers
    guard: Guard
    init: Path
    """catatonit, process 1 of every container."""
    trash: Trash
    volumes: Volumes | None
    """None when this host cannot make any: then nothing holds a disk to its size."""


def add_volume(node: Node, kept: Path, limits: Limits) -> None:
    """Give a disk a volume, which it finds in its `kept`, where this host can make one. Blocks; HostError."""
    if node.volumes is not None:
        node.volumes.make(volume_of(kept), limits)
