"""Lays layers above each other in a directory, without ever following a link that one of them holds."""

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from cloister.sandboxes.oci.image_layer import LayerEntry, LayerReader, RefusedLayerError

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_AUFS = ".wh..wh."

Parts = tuple[str, ...]


def unpack_layer(root: Path, layer: LayerReader, name: str) -> None:
    """Apply a layer to the tree at `root` (OCI image layout, "Applying Changesets"); owners are as inside.

    RefusedLayerError names layer and entry; the tree is then half done and the caller's to remove.
    """
    with _opened(root) as descriptor, layer.reading():
        tree = _Tree(descriptor)
        for entry, content in layer.entries():
            try:
                tree.apply(entry, content)
            except _MisplacedError as error:
                shown = ascii("/".join(entry.parts))
                raise RefusedLayerError(f"layer {name}, entry {shown}: {error}") from error


class _MisplacedError(Exception):
    """Why an entry cannot be where it says."""


class _Tree:
    """The tree during one layer. Every path is walked from the root, component by component."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._of_this_layer: set[Parts] = set()
        """What whiteouts leave alone: they are about the layers below."""

    def apply(self, entry: LayerEntry, content: IO[bytes] | None) -> None:
        """Make what the entry says."""
        if not entry.parts:
            if entry.kind != "directory":
                raise _MisplacedError("the root can only be a directory")
            _set_attributes(self._root, entry)
            return
        *parents, name = entry.parts
        if any(part.startswith(_WHITEOUT) for part in parents):
            raise _MisplacedError("it lies below a whiteout")
        if name.startswith(_WHITEOUT):
            self._white_out(tuple(parents), name)
            return
        with self._folder(tuple(parents), create=True) as folder:
            self._make(folder, name, entry, content)
        self._of_this_layer.update(entry.parts[: end + 1] for end in range(len(entry.parts)))

    def _make(self, folder: int, name: str, entry: LayerEntry, content: IO[bytes] | None) -> None:
        match entry.kind:
            case "directory":
                self._make_directory(folder, name, entry)
            case "file":
                assert content is not None
                _remove(folder, name)
                _write_file(folder, name, entry, content)
            case "symbolic link":
                _remove(folder, name)
                os.symlink(entry.target, name, dir_fd=folder)
                os.chown(name, entry.uid, entry.gid, dir_fd=folder, follow_symlinks=False)
                os.utime(name, (entry.modified, entry.modified), dir_fd=folder, follow_symlinks=False)
            case "hard link":
                self._link(folder, name, entry)

    def _make_directory(self, folder: int, name: str, entry: LayerEntry) -> None:
        if not _is_directory(folder, name):
            _remove(folder, name)
            os.mkdir(name, dir_fd=folder)
        with _opened(name, folder) as made:
            _set_attributes(made, entry)

    def _link(self, folder: int, name: str, entry: LayerEntry) -> None:
        if not entry.link or entry.link == entry.parts:
            raise _MisplacedError("it is a hard link to itself or to the root")
        *parents, target = entry.link
        shown = ascii("/".join(entry.link))
        try:
            with self._folder(tuple(parents), create=False) as source:
                mode = os.lstat(target, dir_fd=source).st_mode
                if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
                    raise _MisplacedError(f"it is a hard link to {shown}, which is no file")
                _remove(folder, name)
                os.link(target, name, src_dir_fd=source, dst_dir_fd=folder, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise _MisplacedError(f"it is a hard link to {shown}, which is not there") from error

    def _white_out(self, parents: Parts, name: str) -> None:
        hidden = name.removeprefix(_WHITEOUT)
        if hidden in ("", ".", ".."):
            raise _MisplacedError("it is a whiteout of no name")
        if name != _OPAQUE and name.startswith(_AUFS):
            return  # bookkeeping of a file system of old
        with suppress(FileNotFoundError), self._folder(parents, create=False) as folder:
            if name == _OPAQUE:
                self._clear(folder, parents)
            else:
                self._hide(folder, parents, hidden)

    def _hide(self, folder: int, parents: Parts, name: str) -> None:
        """Remove what the layers below have there."""
        if (*parents, name) not in self._of_this_layer:
            _remove(folder, name)
        elif _is_directory(folder, name):
            with _opened(name, folder) as inner:
                self._clear(inner, (*parents, name))

    def _clear(self, folder: int, parts: Parts) -> None:
        for name in os.listdir(folder):
            self._hide(folder, parts, name)

    @contextmanager
    def _folder(self, parts: Parts, *, create: bool) -> Iterator[int]:
        """Open a folder. Missing ones are made, as layers may leave them out."""
        current = os.dup(self._root)
        try:
            for part in parts:
                if create:
                    with suppress(FileExistsError):
                        os.mkdir(part, 0o755, dir_fd=current)
                try:
                    below = os.open(part, _FOLDER, dir_fd=current)
                except NotADirectoryError as error:
                    shown = ascii("/".join(parts))
                    raise _MisplacedError(f"{part!a} in {shown} is a link or a file, not a directory") from error
                os.close(current)
                current = below
            yield current
        finally:
            os.close(current)


@contextmanager
def _opened(path: Path | str, folder: int | None = None) -> Iterator[int]:
    descriptor = os.open(path, _FOLDER, dir_fd=folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _is_directory(folder: int, name: str) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(name, dir_fd=folder).st_mode)
    except FileNotFoundError:
        return False


def _remove(folder: int, name: str) -> None:
    if _is_directory(folder, name):
        shutil.rmtree(name, dir_fd=folder)
        return
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)


def _write_file(folder: int, name: str, entry: LayerEntry, content: IO[bytes]) -> None:
    descriptor = os.open(name, _NEW_FILE, 0o600, dir_fd=folder)
    with open(descriptor, "wb") as file:  # noqa: PTH123  a descriptor has no Path
        shutil.copyfileobj(content, file, 1 << 20)
        file.flush()
        _set_attributes(descriptor, entry)
        os.utime(descriptor, (entry.modified, entry.modified))


def _set_attributes(descriptor: int, entry: LayerEntry) -> None:
    os.fchown(descriptor, entry.uid, entry.gid)
    os.fchmod(descriptor, entry.mode)  # after chown(2), which clears the set-user-id bit
