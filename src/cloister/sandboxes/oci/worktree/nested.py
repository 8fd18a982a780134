"""Repositories inside a work tree: whether a directory is one, and which commit it is at, read without git."""

from __future__ import annotations

import os
import re
import stat

_POINTER = b"gitdir: "
_LONGEST_POINTER_BYTES = 8192
_LARGEST_REFS_BYTES = 64 * 1024 * 1024
_MOST_HOPS = 5
_REF = re.compile(rb"refs/[^\x00-\x20\x7f~^:?*\[\\]+")
_OBJECT_ID = re.compile(rb"[0-9a-f]{40}|[0-9a-f]{64}")


class NestedRepositories:
    """The repositories below one work tree. Reads regular files beneath it only, and follows no symlink."""

    def __init__(self, tree: bytes, logical_tree: bytes) -> None:
        self._logical_tree = logical_tree
        self._root = os.open(tree, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)

    def find_commit(self, path: bytes) -> bytes | None:
        """Return the commit that the repository in the directory `path` is at; None when it is at none, or is none."""
        git_dir = self._find_git_dir(path)
        return self._read_ref(git_dir, b"HEAD") if git_dir is not None else None

    def _find_git_dir(self, path: bytes) -> bytes | None:
        entry = path + b"/.git"
        if self._is_directory(entry):
            return entry
        pointer = self._read(entry, _LONGEST_POINTER_BYTES)
        if pointer is None or not pointer.startswith(_POINTER):
            return None
        target = pointer[len(_POINTER) :].rstrip(b"\r\n")
        if not target.startswith(b"/"):
            target = self._logical_tree + b"/" + path + b"/" + target
        normal = os.path.normpath(target)
        if not normal.startswith(self._logical_tree + b"/"):
            return None  # a path of this host is nothing to us
        return normal[len(self._logical_tree) + 1 :]

    def _read_ref(self, git_dir: bytes, name: bytes) -> bytes | None:
        for _ in range(_MOST_HOPS):
            content = self._read(git_dir + b"/" + name, _LONGEST_POINTER_BYTES)
            if content is None:
                return self._read_packed_ref(git_dir, name)
            value = content.strip()
            if _OBJECT_ID.fullmatch(value):
                return value
            name = value[len(b"ref:") :].strip()
            if not value.startswith(b"ref:") or not _REF.fullmatch(name) or b".." in name:
                return None
        return None

    def _read_packed_ref(self, git_dir: bytes, name: bytes) -> bytes | None:
        packed = self._read(git_dir + b"/packed-refs", _LARGEST_REFS_BYTES) or b""
        found = re.search(rb"^([0-9a-f]{40,64}) " + re.escape(name) + rb"$", packed, re.MULTILINE)
        return found[1] if found and _OBJECT_ID.fullmatch(found[1]) else None

    def _is_directory(self, path: bytes) -> bool:
        descriptor = self._open(path, os.O_RDONLY | os.O_DIRECTORY)
        if descriptor is None:
            return False
        os.close(descriptor)
        return True

    def _read(self, path: bytes, limit_bytes: int) -> bytes | None:
        descriptor = self._open(path, os.O_RDONLY | os.O_NONBLOCK)
        if descriptor is None:
            return None
        with open(descriptor, "rb") as file:
            return file.read(limit_bytes) if stat.S_ISREG(os.fstat(descriptor).st_mode) else None

    def _open(self, path: bytes, flags: int) -> int | None:
        descriptor = os.dup(self._root)
        names = path.split(b"/")
        for number, name in enumerate(names):
            last = number == len(names) - 1
            try:
                child = os.open(
                    name, (flags if last else os.O_RDONLY | os.O_DIRECTORY) | os.O_NOFOLLOW, dir_fd=descriptor
                )
            except OSError:
                return None
            finally:
                os.close(descriptor)
            descriptor = child
        return descriptor
