"""Lays layers above each other in a directory, and never leaves it by a link that one of them holds."""

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from cloister.sandboxes.oci import syscalls
from cloister.sandboxes.oci.image_layer import DEEPEST, LONGEST_PATH, LayerEntry, LayerReader, RefusedLayerError

_FOLDER_IN_ROOT = os.O_RDONLY | os.O_DIRECTORY
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_AUFS = ".wh..wh."

Parts = tuple[str, ...]
_NO_FOLDER = (errno.ENOTDIR, errno.ELOOP, errno.EEXIST, errno.ENAMETOOLONG, errno.EXDEV)


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
    """The tree during one layer. The kernel looks every path up as if the tree were all there is.

    A folder on the way may be a link, as `lib` is one to `usr/lib` in most images; the last component is not followed.
    """

    def __init__(self, root: int) -> None:
        self._root = root
        self._place = _path_of(root)
        self._of_this_layer: set[Parts] = set()
        """What whiteouts leave alone, by its path without links: they are about the layers below."""

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
        with self._folder(tuple(parents), create=True) as (folder, real):
            self._make(folder, name, entry, content)
        made = (*real, name)
        self._of_this_layer.update(made[: end + 1] for end in range(len(made)))

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
            with self._folder(tuple(parents), create=False) as (source, _):
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
        with suppress(FileNotFoundError), self._folder(parents, create=False) as (folder, real):
            if name == _OPAQUE:
                self._clear(folder, real)
            else:
                self._hide(folder, real, hidden)

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
    def _folder(self, parts: Parts, *, create: bool) -> Iterator[tuple[int, Parts]]:
        """Open a folder, and say which one that is without links. Missing ones are made: layers may leave them out."""
        try:
            descriptor = self._open_made(parts) if create else self._open(parts)
        except OSError as error:
            if error.errno not in _NO_FOLDER:
                raise
            shown = ascii("/".join(parts))
            raise _MisplacedError(f"{shown} is no directory, and no link to one in here") from error
        try:
            yield descriptor, self._real(descriptor)
        finally:
            os.close(descriptor)

    def _open(self, parts: Parts) -> int:
        return syscalls.open_in_root(self._root, "/".join(parts) or ".", _FOLDER_IN_ROOT)

    def _open_made(self, parts: Parts) -> int:
        with suppress(FileNotFoundError):
            return self._open(parts)
        for end in range(1, len(parts) + 1):
            try:
                os.close(self._open(parts[:end]))
            except FileNotFoundError:
                with self._folder(parts[: end - 1], create=False) as (above, _):
                    os.mkdir(parts[end - 1], 0o755, dir_fd=above)  # refused where a link to nothing is
        return self._open(parts)

    def _real(self, folder: int) -> Parts:
        try:
            inside = _path_of(folder).removeprefix(self._place).strip("/")
        except OSError as error:
            raise _MisplacedError("it lies too deep") from error
        parts = tuple(inside.split("/")) if inside else ()
        if len(parts) >= DEEPEST or len(os.fsencode(inside)) > LONGEST_PATH:  # links can lead to any depth
            raise _MisplacedError("it lies too deep")
        return parts


@contextmanager
def _opened(path: Path | str, folder: int | None = None) -> Iterator[int]:
    descriptor = os.open(path, _FOLDER, dir_fd=folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _path_of(descriptor: int) -> str:
    return str(Path(f"/proc/self/fd/{descriptor}").readlink())


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
