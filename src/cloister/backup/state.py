"""What of a state directory is in a backup: what nothing else has."""

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path

import msgspec

from cloister.backup.archive import FORMAT, MANIFEST, ArchiveWriter, Manifest, digest_of, unpack, writing
from cloister.backup.keys import check_passphrase, open_keys, seal_keys
from cloister.errors import ConflictError, DiskFullError, HostError, UsageError

DATABASE = "cloister.db"
FILES = "files"
SEALED_KEYS = "keys.sealed"
CLEAR_KEYS = "keys"
MOST_TRIALS = 3


class Keys(StrEnum):
    """How a backup holds the keys."""

    NONE = "none"
    SEALED = "sealed"
    CLEAR = "clear"


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Where an installation keeps what a backup is of."""

    directory: Path
    key_files: Mapping[str, Path]
    """By the name that they have in a backup; those that are not there are left out."""
    copy_database: Callable[[Path, Path], str]
    """Copies a database, as it is at one moment, and returns the revision of its tables. CloisterError."""
    upgrade_database: Callable[[Path], None]
    """Brings a database to the newest tables. CloisterError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a backup has."""

    manifest: Manifest
    digest: str
    """SHA-256 of its file."""


def back_up(state: State, target: Path, keys: Keys, passphrase: str | None = None) -> Report:
    """Write a backup, while servers and workers run. Blocks.

    UsageError when there is nothing to back up, the file is there, or the passphrase is short; ConflictError while
    the keys are being replaced; DiskFullError, HostError, StoreError.
    """
    if keys is Keys.SEALED:
        check_passphrase(passphrase or "")
    if not (state.directory / DATABASE).exists():
        raise UsageError(f"there is no state in {state.directory}", hint="name the state directory: CLOISTER_STATE")
    with (
        writing(target) as archive,
        tempfile.TemporaryDirectory(dir=target.parent, prefix=".cloister-backup-") as aside,
    ):
        copy = Path(aside) / DATABASE
        revision, found = _copied(state, copy, with_keys=keys is not Keys.NONE)
        with copy.open("rb") as file:
            archive.add(DATABASE, file, copy.stat().st_size)
        copy.unlink()
        _add_files(archive, state.directory / FILES)
        if keys is Keys.SEALED:
            archive.add_bytes(SEALED_KEYS, seal_keys(found, passphrase or ""))
        elif keys is Keys.CLEAR:
            for name, data in found.items():
                archive.add_bytes(f"{CLEAR_KEYS}/{name}", data)
        manifest = Manifest(
            format=FORMAT,
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            cloister=version("cloister"),
            revision=revision,
            keys=keys,
            parts=archive.parts.copy(),
        )
        archive.add_bytes(MANIFEST, msgspec.json.encode(manifest))
    return Report(manifest=manifest, digest=digest_of(target))


def restore(state: State, source: Path, passphrase: str | None = None) -> Report:
    """Make a state directory of a backup; nothing is changed unless all of it is whole. Blocks.

    ConflictError when the directory, or a key's place, is in use; UsageError for what is no backup, or was made by a
    newer Cloister; VaultError for the wrong passphrase; DiskFullError, HostError.
    """
    _check_unused(state)
    state.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(dir=state.directory, prefix=".restore-"))
    try:
        manifest = unpack(source, aside)
        if not (aside / DATABASE).exists():
            raise UsageError(f"{source} has no database")
        keys = _keys_of(aside, passphrase)
        state.upgrade_database(aside / DATABASE)
        _put(state, aside, keys)
    except OSError as error:
        kind = DiskFullError if error.errno == 28 else HostError
        raise kind(f"the state cannot be restored to {state.directory}: {error.strerror}") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        with suppress(OSError):  # one that was made for this, and is empty
            state.directory.rmdir()
    return Report(manifest=manifest, digest=digest_of(source))


def _copied(state: State, copy: Path, *, with_keys: bool) -> tuple[str, Mapping[str, bytes]]:
    """Copy the database, and read the keys of that moment: a key that is replaced meanwhile opens only one of both."""
    for _ in range(MOST_TRIALS):
        before = _read_keys(state) if with_keys else {}
        copy.unlink(missing_ok=True)
        revision = state.copy_database(state.directory / DATABASE, copy)
        if not with_keys or _read_keys(state) == before:
            return revision, before
    raise ConflictError("the keys are being replaced at this moment", hint="make the backup once that is done")


def _read_keys(state: State) -> Mapping[str, bytes]:
    found = {}
    for name, path in state.key_files.items():
        try:
            found[name] = path.read_bytes()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise HostError(f"the key {path} cannot be read: {error.strerror}") from error
    return found


def _add_files(archive: ArchiveWriter, directory: Path) -> None:
    """Add what is kept with tasks. What goes meanwhile belonged to nobody any more."""
    for path in sorted(directory.glob("[!.]*/[!.]*")):
        try:
            file = path.open("rb")
        except (FileNotFoundError, NotADirectoryError):
            continue
        with file:
            archive.add(f"{FILES}/{path.parent.name}/{path.name}", file, os.fstat(file.fileno()).st_size)


def _check_unused(state: State) -> None:
    for name in (DATABASE, FILES):
        if (state.directory / name).exists():
            raise ConflictError(
                f"the state directory {state.directory} is in use: it has {name}",
                hint="restore into a new one, with CLOISTER_STATE, or move this one away",
            )


def _keys_of(aside: Path, passphrase: str | None) -> Mapping[str, bytes]:
    if (aside / SEALED_KEYS).exists():
        if passphrase is None:
            raise UsageError("the keys in this backup need their passphrase", hint="--passphrase-file FILE")
        return open_keys((aside / SEALED_KEYS).read_bytes(), passphrase)
    return {path.name: path.read_bytes() for path in (aside / CLEAR_KEYS).glob("*")}


def _put(state: State, aside: Path, keys: Mapping[str, bytes]) -> None:
    """Move all in place, the database last: with it, the directory is one that is in use."""
    unknown = sorted(keys.keys() - state.key_files.keys())
    if unknown:
        raise UsageError(f"the backup has keys that this version does not know: {', '.join(unknown)}")
    for name, data in keys.items():
        _check_key(state.key_files[name], data)
    for name, data in keys.items():
        _put_key(state.key_files[name], data)
    if (aside / FILES).exists():
        for path in (aside / FILES).glob("*/*"):
            path.chmod(0o444)
        for path in (aside / FILES).glob("*"):
            path.chmod(0o755)
        (aside / FILES).rename(state.directory / FILES)
    (aside / DATABASE).rename(state.directory / DATABASE)


def _check_key(path: Path, data: bytes) -> None:
    if path.exists() and path.read_bytes() != data:
        raise ConflictError(f"there is another key at {path}", hint="move it away: it opens nothing of this backup")


def _put_key(path: Path, data: bytes) -> None:
    if path.exists():
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(descriptor)
