"""One conversation with `git fast-import`: what a commit holds at a path, and a commit above it."""

from __future__ import annotations

import subprocess
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cloister.sandboxes.oci.worktree import trusted
else:
    import trusted

TREE = b"040000"
GITLINK = b"160000"
SYMLINK = b"120000"
_AUTHOR = b"Cloister <cloister@localhost>"
_MESSAGE = b"Change of an attempt\n"


class Importer:
    """A commit above `base`, begun when this is made. Git loads only the directories that are asked for or changed."""

    def __init__(self, base: str, variables: Mapping[bytes, bytes]) -> None:
        self._process = subprocess.Popen(
            ["git", "fast-import", "--quiet", "--done", "--force"],
            env=variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        head = b"commit refs/cloister/change\nmark :1\ncommitter %s %d +0000\ndata %d\n%sfrom %s\n"
        self._send([head % (_AUTHOR, int(time.time()), len(_MESSAGE), _MESSAGE, base.encode())])

    def look_up(self, paths: Sequence[bytes]) -> list[tuple[bytes, bytes] | None]:
        """Return mode and object id of each path, as the commit stands now; None where there is nothing."""
        # Questions are sent by a thread, because git answers while it reads: two full pipes would wait for each other.
        questions = threading.Thread(target=self._send, args=([b"ls %s\n" % quote(path) for path in paths],))
        questions.start()
        answers = [self._answer() for _ in paths]
        questions.join()
        return answers

    def remove(self, path: bytes) -> None:
        """Take a path, and all below it, out of the commit; everything, for an empty path."""
        self._send([b"D %s\n" % quote(path) if path else b"deleteall\n"])

    def put(self, path: bytes, mode: bytes, object_id: bytes) -> None:
        """Set a path to an object that git has, or to the commit of a submodule."""
        self._send([b"M %s %s %s\n" % (mode, object_id, quote(path))])

    def put_symlink(self, path: bytes, target: bytes) -> None:
        """Set a path to a symlink."""
        self._send([b"M %s inline %s\ndata %d\n%s\n" % (SYMLINK, quote(path), len(target), target)])

    def finish(self) -> bytes:
        """Write everything, and return the commit."""
        self._send([b"\nget-mark :1\ndone\n"])
        assert self._process.stdout is not None
        commit = self._process.stdout.readline().strip()
        self._end()
        return commit

    def _answer(self) -> tuple[bytes, bytes] | None:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._end()
            raise trusted.GitError("git fast-import ended before it had answered")
        if line.startswith(b"missing "):
            return None
        mode, _, object_id = line.partition(b"\t")[0].split(b" ")
        return mode, object_id

    def _send(self, lines: Iterable[bytes]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.writelines(lines)
            self._process.stdin.flush()
        except BrokenPipeError:
            self._end()

    def _end(self) -> None:
        _, stderr = self._process.communicate(timeout=trusted.GIT_SECONDS)
        if self._process.returncode != 0:
            raise trusted.GitError(f"git fast-import: {trusted.last_words(stderr)}")


def quote(path: bytes) -> bytes:
    """Quote a path as git's unquote_c_style() reads it; every byte has a form."""
    return b'"' + b"".join(_QUOTED[byte] for byte in path) + b'"'


_QUOTED = [bytes([byte]) if 0x20 <= byte < 0x7F and byte not in b'"\\' else b"\\%03o" % byte for byte in range(256)]
