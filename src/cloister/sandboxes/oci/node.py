"""What the sandboxes of one machine share."""

from dataclasses import dataclass
from pathlib import Path

from cloister.sandboxes.oci.claims import BuildClaims
from cloister.sandboxes.oci.containers import Containers
from cloister.sandboxes.oci.guard import Guard
from cloister.sandboxes.oci.image import OciImageStore
from cloister.sandboxes.oci.paths import NodePaths
from cloister.sandboxes.oci.snapshots import Snapshots
from cloister.sandboxes.oci.trash import Trash


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
