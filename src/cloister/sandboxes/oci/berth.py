"""The berth of a sandbox: what it needs whatever runs in it. Directories, a network namespace, and a volume."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cloister.model.environment import Limits
from cloister.sandboxes.oci.bundle import UID_BASE
from cloister.sandboxes.oci.disk import Disk, kept_of
from cloister.sandboxes.oci.network import ListeningSockets, create_namespace
from cloister.sandboxes.oci.node import Node, add_volume
from cloister.sandboxes.oci.paths import make_passage


def make_berth(node: Node, live: Path, disk: Path, limits: Limits) -> ListeningSockets:
    """Make both directories of a sandbox, and return what listens in its namespace. Blocks; HostError, SandboxError.

    `live` is for what runs, `disk` for what is written. Both may be renamed, with what is mounted in them.
    """
    with ThreadPoolExecutor(max_workers=1) as beside:
        volume = beside.submit(_make_disk, node, disk, limits)
        for place in (live, live / "root", live / "processes", live / "tools"):
            make_passage(place, UID_BASE)
        sockets = create_namespace(live / "netns")
        volume.result()
    return sockets


def _make_disk(node: Node, disk: Path, limits: Limits) -> None:
    add_volume(node, kept_of(disk), limits)
    Disk.prepare(disk, owner=UID_BASE)
