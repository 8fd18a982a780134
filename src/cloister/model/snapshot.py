"""Snapshots: saved disks named by the hash of all that made them, and why one did not fit."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import NewType

from cloister.model.environment import Environment
from cloister.model.network import NetworkMode

SnapshotKey = NewType("SnapshotKey", str)
"""64 hexadecimal digits: SHA-256 over the named parts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotRecipe:
    """Everything that a snapshot was made of, part by part, so that a miss can name what differs."""

    parts: Mapping[str, str]
    """Part's name (`image`, `setup script`, ...) to its value's digest."""

    @property
    def key(self) -> SnapshotKey:
        """The name of the snapshot that this recipe makes."""
        return SnapshotKey(_digest(json.dumps(dict(sorted(self.parts.items())))))


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotRecord:
    """A kept snapshot, as the store remembers it."""

    key: SnapshotKey
    environment: str
    repository: str
    commit: str
    """The commit of the default branch that setup ran at."""
    parts: Mapping[str, str]
    created_at: datetime
    expires_at: datetime
    path: tuple[str, ...] = ()
    """Folders that programs had before PATH: of automatic setup, and of the chosen versions."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """What they had from the same; not the environment's own."""
    last_used_at: datetime | None = None
    """When an attempt that started from it came to its output; None when none has."""
    size_bytes: int | None = None
    """What it takes on disk, without those below it; None until that is counted."""
    ref: str | None = None
    """Of one that is for this ref alone; None for the default branch's, which all share."""
    below: SnapshotKey | None = None
    """The one that its disk stands on."""
    digest: str | None = None
    """SHA-256 of its disk, with those below it, as its node says; None until it is computed. No catalog has it."""
    attempt: str | None = None
    """Whose final disk it is, kept for follow-ups to it alone; None for what setup made."""

    @property
    def used_at(self) -> datetime:
        """When somebody last had it."""
        return self.last_used_at or self.created_at


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedDisk:
    """A kept disk that was read again, without those below it."""

    key: SnapshotKey
    kept: str | None
    """SHA-256 of what was kept; None when it was not computed."""
    found: str
    """SHA-256 of what is there."""

    @property
    def changed(self) -> bool:
        """Whether it is another one."""
        return self.kept is not None and self.kept != self.found


def recipe_of(
    environment: Environment,
    *,
    repository: str,
    image_digest: str,
    secret_versions: Mapping[str, str],
    setup_script: str | None = None,
    dependencies: str = "",
    versions: Mapping[str, str] = MappingProxyType({}),
) -> SnapshotRecipe:
    """Return the recipe of the disk that `environment` makes for `repository`.

    `setup_script` is what runs, the environment's own or that of automatic setup; `dependencies` is the digest of
    the default branch's files that decide what it installs; `versions` are those of the image's languages that were
    chosen.
    The commit is no part of it: a snapshot is made at the default branch and brought to a task's ref
    by checkout and maintenance (the rule of Codex cloud's container cache).
    """
    values: dict[str, object] = {
        "image": image_digest,
        "repository": repository,
        "setup script": setup_script,
        "lock files": dependencies,
        "maintenance script": environment.setup.maintenance,
        "variables": dict(sorted(environment.variables.items())),
        "secrets": dict(sorted(secret_versions.items())),
        "versions": dict(sorted({**environment.versions, **versions}.items())),
        "setup network": _network_of_setup(environment),
        "residue": environment.setup.residue,
    }
    return SnapshotRecipe(parts={name: _digest(json.dumps(value)) for name, value in values.items()})


def own_recipe_of(shared: SnapshotRecipe, *, ref: str, script: str, dependencies: str) -> SnapshotRecipe:
    """Return the recipe of the disk that is `ref`'s own, above the one of the default branch that all share.

    `script` brought it up; `dependencies` is the digest of the files at the ref that decide what it installs.
    """
    own = {"ref": ref, "script at the ref": script, "lock files at the ref": dependencies}
    return SnapshotRecipe(parts={**shared.parts, **{name: _digest(json.dumps(value)) for name, value in own.items()}})


def final_disk_of(attempt: str) -> SnapshotKey:
    """Return the key under which the final disk of an attempt is kept: no recipe has it."""
    return SnapshotKey(_digest(f"final disk of {attempt}"))


def depth_of(record: SnapshotRecord, known: Mapping[SnapshotKey, SnapshotRecord]) -> int:
    """Return on how many others of `known` a disk stands, one above the other."""
    depth, below = 0, record.below
    while below is not None and below in known:
        depth, below = depth + 1, known[below].below
    return depth


def may_hold_secrets(record: SnapshotRecord) -> bool:
    """Whether setup had secrets, and its environment let them stay on the disk."""
    had_none = record.parts.get("secrets") == _digest(json.dumps({}))
    return record.parts.get("residue") == _digest(json.dumps("allow")) and not had_none


def within_ttl(record: SnapshotRecord, ttl_seconds: float) -> SnapshotRecord:
    """Return the record as an environment with this ttl sees it, which may have been shortened since."""
    return replace(record, expires_at=min(record.expires_at, record.created_at + timedelta(seconds=ttl_seconds)))


def stands_on(record: SnapshotRecord, image_digest: str) -> bool:
    """Whether a kept snapshot was made above that image."""
    return record.parts.get("image") == _digest(json.dumps(image_digest))


def reason_of_miss(
    wanted: SnapshotRecipe, nearest: SnapshotRecord | None, *, now: datetime, flaw: str | None = None
) -> str:
    """Say in a few words why no kept snapshot fits.

    `nearest` is that of the very key, else the newest of the same environment and repository; `flaw` is what is wrong
    with the disk of the very key.
    """
    if nearest is None:
        return "first use of this environment"
    if nearest.key == wanted.key:
        return "expired" if nearest.expires_at <= now else flaw or "its disk is gone"
    changed = [name for name, value in wanted.parts.items() if nearest.parts.get(name) != value]
    return "changed: " + ", ".join(changed)


def _network_of_setup(environment: Environment) -> list[object]:
    """What setup could reach. What means nothing in its mode is left out: a domain for the agent costs no new setup."""
    network = environment.network
    if network.setup == NetworkMode.OFF:
        return [network.setup]
    allow = sorted(network.allow) if network.setup == NetworkMode.LIMITED else []
    denied = [f"not {domain}" for domain in sorted(network.deny)]
    return [network.setup, *allow, *denied, network.methods and sorted(network.methods), sorted(network.ports)]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
