"""What is written on a kept disk, and whether the disk is what that says."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from cloister.model.sandbox import Commit
from cloister.sandboxes.oci.boot import boot_id
from cloister.sandboxes.oci.disk import git_of, layers_of

MARKER = "snapshot.json"
FLAT = "flat"
"""The one layer that all layers of a disk, and of those below it, were merged into."""
GONE = "its disk is gone"
RULES = 2
"""Counted up when what may be on a kept disk is told more strictly: one that was kept before is not used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotMarker:
    """Written last: a directory without it is no snapshot."""

    image: str
    commit: Commit
    layers: int
    boot_id: str
    id: str = ""
    """Random: a disk that is kept anew under the same key is another one."""
    synced: bool = False
    """Whether it has reached the disk; until then it is good only until the next boot."""
    below: str | None = None
    """Key of the snapshot whose layers lie below its own."""
    below_id: str = ""
    flat: bool = False
    """Whether all layers, with those of the snapshots below, are merged into one."""
    rules: int = 0
    """Which rules it was looked through by before it was kept."""
    attempt: str = ""
    """Of the final disk of an attempt, its sandbox. What agents wrote is its topmost layer, and no other; no script of
    setup ever runs on it, and only follow-ups of its own task start from it."""


def read_marker(place: Path) -> SnapshotMarker | None:
    """Return the marker of the disk kept at `place`; None when there is none, or it cannot be read."""
    try:
        return SnapshotMarker(**json.loads((place / MARKER).read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def write_marker(place: Path, marker: SnapshotMarker) -> None:
    """Make it true, atomically."""
    draft = place / f"{MARKER}.draft"
    draft.write_text(json.dumps(asdict(marker)))
    draft.rename(place / MARKER)


def find_flaw(snapshots: Path, key: str) -> str | None:
    """Say in a few words why the disk kept as `key` cannot be used; None when it can. Looks at no file of its tree."""
    place = snapshots / key
    if not place.exists():
        return GONE
    marker = read_marker(place)
    if marker is None:
        return "its disk is damaged: its marker cannot be read"
    if not marker.synced and marker.boot_id != boot_id():
        return "its disk was lost when the machine stopped"
    if marker.rules < RULES:
        return "its disk was kept under laxer rules"
    if not (git_of(place) / "HEAD").is_file():
        return "its disk is damaged: its git directory is missing"
    layers = [place / FLAT] if marker.flat else layers_of(place, marker.layers)
    for layer in layers:
        if layer.is_symlink() or not layer.is_dir():
            return f"its disk is damaged: layer {layer.name} is missing"
    return None if marker.below is None or marker.flat else _find_flaw_below(snapshots, marker.below, marker.below_id)


def _find_flaw_below(snapshots: Path, key: str, expected_id: str) -> str | None:
    below = read_marker(snapshots / key)
    if below is None or below.id != expected_id or find_flaw(snapshots, key) is not None:
        return "the disk below it is gone"
    return None
