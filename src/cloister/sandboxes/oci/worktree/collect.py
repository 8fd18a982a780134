"""Makes one commit, and one pack, of what was written to a work tree; a program for a container of the pristine image.

Standard input: a JSON object with `directory` and `base`. The paths to look at are in /cloister/exchange/written
(`written.py`); nothing else of the tree is. Standard output: `commit`, which is `base` when nothing changed and has
its objects in /cloister/exchange/change.pack otherwise, or `refused` with a reason that is the task's doing.

What counts is what `git add --all` would make of these paths with the settings of `trusted.py`: paths that `base`
tracks, and others unless the ignore files say no, as they are now. What was there before and was not written to is
no part of the change, whatever the ignore files say. A changed `.gitattributes` makes git read files differently that
nobody wrote to, so then those tracked files are looked at whose attributes changed.

No other program runs on this disk meanwhile, so what was looked at stays what it was.
"""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cloister.sandboxes.oci.worktree import importer, large, nested, submodules, trusted
else:
    sys.path.append(os.path.dirname(os.path.abspath(__file__)))  # `python -I` leaves it out
    import importer
    import large
    import nested
    import submodules
    import trusted

LARGEST_CHANGE_BYTES = 2 * 1024**3
LARGEST_RULES_BYTES = 16 * 1024**2
RULES = (b".gitignore", b".gitattributes")
_CONVERSIONS = ("text", "crlf", "eol", "ident", "working-tree-encoding")


def main() -> None:
    """Read the request, do it, and answer."""
    try:
        request = json.load(sys.stdin)
        places = trusted.Places(trusted.root_of(sys.argv), request["directory"])
        base = trusted.check_commit(request["base"])
        written = read_written(places)
        answer = {"commit": collect(places, base, written), "inside": find_inside(places, base, written)}
    except trusted.RefusedError as refusal:
        answer = {"refused": str(refusal)}
    except (OSError, ValueError, KeyError, subprocess.SubprocessError, trusted.GitError) as error:
        trusted.fail(error)
    json.dump(answer, sys.stdout)


def read_written(places: trusted.Places) -> list[tuple[bytes, bytes]]:
    """Return kind and path of everything that was written, parents first."""
    with open(os.path.join(places.exchange, b"written"), "rb") as file:
        return [(record[:1], record[2:]) for record in file.read().split(b"\0")[:-1]]


def find_inside(places: trusted.Places, base: str, written: Sequence[tuple[bytes, bytes]]) -> list[str]:
    """Return the laid submodules in which something was written: that is no part of a change."""
    laid = [path for _, path in submodules.read_list(places, base)]
    paths = [path for kind, path in written if kind != b"d"]
    return [_show(one) for one in laid if any(path == one or path.startswith(one + b"/") for path in paths)]


def collect(places: trusted.Places, base: str, written: Sequence[tuple[bytes, bytes]]) -> str:
    """Make the commit and its pack, and return the commit; `base` when it would hold the same."""
    if not written:
        return base
    scratch = os.path.join(places.exchange, b"scratch")
    trusted.make_git_dir(scratch, places, sha256=len(base) == 64)
    variables = trusted.environment(scratch, places.tree)
    commit = _Change(places, base, variables, written).commit()
    if commit is None:
        return base
    with open(os.path.join(places.exchange, b"change.pack"), "wb") as pack:
        trusted.git(
            ["pack-objects", "--revs", "--local", "--stdout", "--quiet", "--delta-base-offset"],
            variables,
            stdin=commit + b"\n^" + base.encode() + b"\n",
            stdout=pack.fileno(),
        )
    return commit.decode()


class _Change:
    """The change while it is found out."""

    def __init__(
        self,
        places: trusted.Places,
        base: str,
        variables: Mapping[bytes, bytes],
        written: Sequence[tuple[bytes, bytes]],
    ) -> None:
        self._places = places
        self._tree = places.tree
        self._base = base
        self._variables = variables
        self._written = written
        self._nested = nested.NestedRepositories(places.tree, places.logical_tree)
        self._importer = importer.Importer(base, variables)
        paths = [path for _, path in written]
        self._tracked = dict(zip(paths, self._importer.look_up(paths)))  # noqa: B905

    def commit(self) -> bytes | None:
        """Return the commit; None when it would hold what its base holds."""
        before = self._importer.look_up([b""])
        repositories = self._find_repositories()
        entries = [
            (kind, path)
            for kind, path in self._written
            if not _is_inside(path, repositories) and b".git" not in path.split(b"/")
        ]
        emptied = self._remove_what_is_gone(entries, repositories)
        candidates = [path for kind, path in entries if kind in (b"f", b"l")]
        self._check_rules(path for kind, path in entries if kind in (b"d", b"o"))
        ignored = self._find_ignored([*candidates, *repositories])
        self._put_files([path for path in candidates if path not in ignored], emptied)
        self._put_repositories([path for path in repositories if path not in ignored], emptied)
        if any(os.path.basename(path) == b".gitattributes" for kind, path in entries if kind not in (b"d", b"o")):
            self._put_converted({path for _, path in entries})
        after = self._importer.look_up([b""])
        commit = self._importer.finish()
        return commit if after != before else None

    def _find_repositories(self) -> set[bytes]:
        """Return the outermost directories that git looks at as one thing: submodules, and repositories inside."""
        found: set[bytes] = set()
        for kind, path in self._written:
            if kind not in (b"d", b"o") or not path or _is_inside(path, found) or self._mode(path) == importer.TREE:
                continue
            if self._mode(path) == importer.GITLINK or self._nested.find_commit(path) is not None:
                found.add(path)
        return found

    def _remove_what_is_gone(self, entries: Iterable[tuple[bytes, bytes]], repositories: set[bytes]) -> set[bytes]:
        """Take out what is no longer there, and return the directories whose former content is gone."""
        emptied = set()
        for kind, path in entries:
            mode = self._mode(path)
            if kind == b"o":
                emptied.add(path)
            if mode is None or path in repositories or (kind == b"d" and mode == importer.TREE):
                continue
            if kind not in (b"f", b"l") or mode == importer.TREE:
                self._importer.remove(path)
        return emptied

    def _check_rules(self, folders: Iterable[bytes]) -> None:
        """Refuse what git would wait for or read without end in place of its rules: a fifo, a huge file."""
        for folder in folders:
            for name in RULES:
                path = os.path.join(folder, name)
                try:
                    status = os.lstat(os.path.join(self._tree, path))
                except OSError:
                    continue
                usable = stat.S_ISREG(status.st_mode) and status.st_size <= LARGEST_RULES_BYTES
                if not usable and not stat.S_ISLNK(status.st_mode) and not stat.S_ISDIR(status.st_mode):
                    raise trusted.RefusedError(f"{_show(path)} is not a file of rules that git could read")

    def _find_ignored(self, paths: Iterable[bytes]) -> set[bytes]:
        """Return those that no commit tracks and the ignore files name."""
        untracked = [path for path in paths if self._mode(path) in (None, importer.TREE)]
        if not untracked:
            return set()
        # "./", because a name may begin with what git takes for pathspec magic: ":(top)".
        ignored = trusted.git(
            ["check-ignore", "--no-index", "-z", "--stdin"],
            self._variables,
            stdin=b"".join(b"./%s\0" % path for path in untracked),
            accept=(0, 1),
        )
        return {path[2:] for path in ignored.split(b"\0")[:-1]}

    def _put_files(self, paths: Sequence[bytes], emptied: set[bytes]) -> None:
        files, links, size = [], [], 0
        for path in paths:
            status = os.lstat(os.path.join(self._tree, path))
            size += status.st_size
            if stat.S_ISLNK(status.st_mode):
                links.append(path)
            else:
                files.append((path, b"100755" if status.st_mode & stat.S_IXUSR else b"100644"))
        if size > LARGEST_CHANGE_BYTES:
            raise trusted.RefusedError(
                f"the change holds {size} bytes; at most {LARGEST_CHANGE_BYTES} can be taken out"
            )
        tracked = {path: entry[1] for path, _ in files if (entry := self._tracked[path]) and entry[0][:3] == b"100"}
        ids = self._find_same_large(tracked)
        others = [path for path, _ in files if path not in ids]
        ids.update(zip(others, self._hash(others)))  # noqa: B905
        for path, mode in files:
            object_id = ids[path]
            if self._tracked[path] != (mode, object_id) or _is_inside(path, emptied):
                self._importer.put(path, mode, object_id)
        for path in links:
            self._put_link(path, emptied)

    def _find_same_large(self, blobs: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
        """Of tracked files and their blobs, return those that are what their blob, a pointer, stands for."""
        pointers = large.read_pointers(self._places, sorted(set(blobs.values())), self._variables)
        return {
            path: blob
            for path, blob in blobs.items()
            if blob in pointers and large.is_same(os.path.join(self._tree, path), pointers[blob])
        }

    def _put_link(self, path: bytes, emptied: set[bytes]) -> None:
        target = os.readlink(os.path.join(self._tree, path))
        import hashlib  # here, because few changes hold a symlink and each import costs milliseconds

        digest = hashlib.sha256 if len(self._base) == 64 else hashlib.sha1
        object_id = digest(b"blob %d\0" % len(target) + target).hexdigest().encode()
        if self._tracked[path] != (importer.SYMLINK, object_id) or _is_inside(path, emptied):
            self._importer.put_symlink(path, target)

    def _hash(self, paths: Sequence[bytes]) -> list[bytes]:
        """Store files as blobs, converted as the attributes say, and return their ids."""
        if not paths:
            return []
        lines = b"".join(importer.quote(path) + b"\n" for path in paths)
        try:
            return trusted.git(["hash-object", "-w", "--stdin-paths"], self._variables, stdin=lines).split()
        except trusted.GitError as error:
            raise trusted.RefusedError(f"a changed file cannot be stored: {error}") from error

    def _put_repositories(self, paths: Iterable[bytes], emptied: set[bytes]) -> None:
        for path in paths:
            object_id = self._tracked[path][1] if self._mode(path) == importer.GITLINK else None  # type: ignore[index]
            found = self._nested.find_commit(path) if self._was_moved(path) else None
            now = found if found is not None and len(found) == len(self._base) else object_id
            if now is not None and (now != object_id or _is_inside(path, emptied)):
                self._importer.put(path, importer.GITLINK, now)

    def _was_moved(self, repository: bytes) -> bool:
        """Whether its HEAD or a branch was written: one that setup made, and that stayed, is no change."""
        git_dir = repository + b"/.git"
        heads = (git_dir + b"/HEAD", git_dir + b"/packed-refs")
        return any(
            path in heads or path.startswith(git_dir + b"/refs/heads/") or (path == git_dir and kind != b"d")
            for kind, path in self._written
        )

    def _put_converted(self, known: set[bytes]) -> None:
        """Store tracked files again that are not in the list, where the attributes of conversion changed."""
        index = {**self._variables, b"GIT_INDEX_FILE": os.path.join(self._variables[b"GIT_DIR"], b"index")}
        trusted.git(["read-tree", self._base], index)
        records = trusted.git(["ls-tree", "-r", "-z", "--full-tree", self._base], index).split(b"\0")[:-1]
        tracked = {path: entry.split() for entry, path in (it.split(b"\t", 1) for it in records) if entry[:3] == b"100"}
        rest = [path for path in tracked if path not in known and self._is_file(path)]
        self._check_rules({parent for path in rest for parent in _parents(path)})
        changed = [path for path, same in zip(rest, self._compare_attributes(rest, index)) if not same]  # noqa: B905
        same = self._find_same_large({path: tracked[path][2] for path in changed})
        changed = [path for path in changed if path not in same]
        for path, object_id in zip(changed, self._hash(changed)):  # noqa: B905
            self._importer.put(path, tracked[path][0], object_id)

    def _compare_attributes(self, paths: Sequence[bytes], index: Mapping[bytes, bytes]) -> list[bool]:
        lines = b"".join(path + b"\0" for path in paths)
        command = ["check-attr", "-z", "--stdin", *_CONVERSIONS]
        before = trusted.git([command[0], "--cached", *command[1:]], index, stdin=lines).split(b"\0")
        now = trusted.git(command, index, stdin=lines).split(b"\0")
        width = 3 * len(_CONVERSIONS)
        return [before[at : at + width] == now[at : at + width] for at in range(0, width * len(paths), width)]

    def _is_file(self, path: bytes) -> bool:
        return all(not os.path.islink(os.path.join(self._tree, parent)) for parent in _parents(path)) and stat.S_ISREG(
            _mode_of(os.path.join(self._tree, path))
        )

    def _mode(self, path: bytes) -> bytes | None:
        entry = self._tracked[path]
        return entry[0] if entry is not None else None


def _is_inside(path: bytes, folders: set[bytes]) -> bool:
    return any(parent in folders for parent in _parents(path))


def _parents(path: bytes) -> list[bytes]:
    """Every directory above a path, from the work tree's root (empty) down."""
    names = path.split(b"/")
    return [b"/".join(names[:length]) for length in range(len(names))] if path else []


def _mode_of(path: bytes) -> int:
    try:
        return os.lstat(path).st_mode
    except OSError:
        return 0


def _show(path: bytes) -> str:
    return path.decode(errors="backslashreplace")


if __name__ == "__main__":
    main()
