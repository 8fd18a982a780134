"""The program that searches a disk for secrets: a process of its own, without a network or rights it does not need.

It reads what anybody may have written, archives among it, so it must not be us.
"""

import errno
import json
import os
import signal
import stat
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO

import anyio

from cloister.errors import SandboxError, TaskFailedError
from cloister.masking import MaskingRedactor
from cloister.model.residue import Residue
from cloister.model.secret import SecretValue
from cloister.residue import CHUNK_BYTES, ResidueSearch
from cloister.sandboxes.oci.packed import HEAD_BYTES, Allowance, unpack

LARGEST_UNPACKED_BYTES = 4 * 1024**3
"""Of one archive."""
LARGEST_REWRITTEN_BYTES = 1024 * 1024
PROCESSOR_SECONDS = 15 * 60
"""What is packed tightly, many times over, could be searched for days; a full disk is done in a few minutes."""
_MOST_SHOWN = 1000
_MEMORY_BYTES = 2 * 1024**3
_OPEN_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


async def search_disk(root: Path, values: Mapping[str, SecretValue], *, scrub: Sequence[str] = ()) -> Sequence[Residue]:
    """Search the tree `root`, in which nothing runs, and return what holds a value, sorted by path.

    With `scrub`, paths that a search found: first rewrite the text files among them and remove what is a cache, and
    then search only those. SandboxError when the search cannot be done, TaskFailedError when it takes too long: then
    nothing is known.
    """
    order = {
        "root": str(root),
        "values": {name: value.reveal() for name, value in values.items()},
        "scrub": list(scrub),
    }
    capabilities = "+dac_override" if scrub else "+dac_read_search"
    command = (
        *("unshare", "--net", "--ipc", "--", "prlimit", f"--as={_MEMORY_BYTES}"),
        *(f"--cpu={PROCESSOR_SECONDS}:{PROCESSOR_SECONDS + 5}", "--"),
        *("setpriv", "--pdeathsig", "KILL", "--no-new-privs", "--inh-caps=-all", f"--bounding-set=-all,{capabilities}"),
        *("--", sys.executable, "-I", "-B", "-m", __name__),
    )
    done = await anyio.run_process(command, input=json.dumps(order).encode(), check=False)
    if done.returncode == -signal.SIGXCPU:
        raise TaskFailedError(
            f"the disk cannot be searched for secrets in {PROCESSOR_SECONDS} s of processor time",
            hint="remove archives and caches at the end of the script",
        )
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().rpartition("\n")[2][-_MOST_SHOWN:]
        raise SandboxError(f"the disk could not be searched for secrets: {said}")
    return [_fields_to_residue(json.loads(line)) for line in done.stdout.splitlines()]


def _fields_to_residue(fields: Mapping[str, object]) -> Residue:
    return Residue(path=str(fields["path"]), names=tuple(fields["names"]), member=str(fields["member"]))  # type: ignore[arg-type]


def main() -> None:
    """Read the order from standard input, and print each find as a line of JSON."""
    order = json.load(sys.stdin)
    root = os.fsencode(order["root"])
    values = {name: SecretValue(value) for name, value in order["values"].items()}
    paths: Iterator[bytes] = (os.fsencode(path) for path in order["scrub"]) if order["scrub"] else _walk(root)
    search = ResidueSearch(values)
    looking = _Search(root, search)
    for path in paths:
        if order["scrub"]:
            _scrub(root + path, Residue(path=os.fsdecode(path), names=()), values, search)
        for found in looking.find(path):
            print(json.dumps(asdict(found)))


def _walk(root: bytes) -> Iterator[bytes]:
    """Yield the path from `root` on of everything but directories, whose names are in those paths or hold nothing."""
    waiting = [b""]
    while waiting:
        folder = waiting.pop()
        with os.scandir(root + folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                path = folder + b"/" + entry.name
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(path)
                yield path


class _Search:
    """Searches entries of a tree, what has several names once."""

    def __init__(self, root: bytes, search: ResidueSearch) -> None:
        self._root = root
        self._search = search
        self._linked: dict[int, Sequence[Residue]] = {}

    def find(self, path: bytes) -> Iterator[Residue]:
        """Search the entry's name, its attributes, and what it holds or points to."""
        shown = os.fsdecode(path)
        try:
            status = os.lstat(self._root + path)
            texts = [os.path.basename(path)]
            if stat.S_ISLNK(status.st_mode):
                texts.append(os.readlink(self._root + path))
            if names := self._search.names_in([b"\n".join(texts)]):
                yield Residue(path=shown, names=tuple(sorted(names)))
            yield from _search_attributes(self._root + path, shown, self._search)
            if stat.S_ISREG(status.st_mode) and status.st_size:
                yield from self._in_file(path, shown, status)
        except FileNotFoundError:  # a cache that was removed
            return
        except OSError:  # too deep a path, or a disk that fails: what is not searched is not clean
            yield Residue(path=shown, names=())

    def _in_file(self, path: bytes, shown: str, status: os.stat_result) -> Sequence[Residue]:
        found = self._linked.get(status.st_ino)
        if found is None:
            found = list(_search_file(self._root + path, shown, self._search))
            if status.st_nlink > 1:
                self._linked[status.st_ino] = found
        return [replace(residue, path=shown) for residue in found]


def _search_attributes(place: bytes, shown: str, search: ResidueSearch) -> Iterator[Residue]:
    """Those that programs set: curl and wget write the address there that a file came from, credentials included."""
    for _, names in _attributes_with_values(place, search):
        yield Residue(path=shown, names=tuple(sorted(names)), member="an extended attribute")


def _attributes_with_values(place: bytes, search: ResidueSearch) -> Iterator[tuple[str, set[str]]]:
    for name in os.listxattr(place, follow_symlinks=False):
        if name.startswith("user."):
            content = os.getxattr(place, name, follow_symlinks=False)
            if names := search.names_in([name.encode(errors="surrogateescape"), b"\n", content]):
                yield name, names


def _search_file(place: bytes, shown: str, search: ResidueSearch) -> Iterator[Residue]:
    with open(os.open(place, _OPEN_FLAGS), "rb", buffering=0) as file:
        head = file.read(HEAD_BYTES)
        file.seek(0)
        names = search.names_in(_chunks(file))
        if names:
            yield Residue(path=shown, names=tuple(sorted(names)))
            return
        file.seek(0)
        yield from _search_archive(file, head, shown, search)


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    """Yield what was written to the file: its holes may be larger than any disk, and read as zeros."""
    at = 0
    while (start := _seek_data(file, at)) is not None:
        end = os.lseek(file.fileno(), start, os.SEEK_HOLE)
        if start > at:
            yield b"\0"
        file.seek(start)
        while start < end and (chunk := file.read(min(CHUNK_BYTES, end - start))):
            start += len(chunk)
            yield chunk
        at = end


def _seek_data(file: IO[bytes], at: int) -> int | None:
    try:
        return os.lseek(file.fileno(), at, os.SEEK_DATA)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return None


def _search_archive(file: IO[bytes], head: bytes, shown: str, search: ResidueSearch) -> Iterator[Residue]:
    try:
        for member, chunks in unpack(file, head, Allowance(LARGEST_UNPACKED_BYTES)):
            if names := search.names_in(chunks):
                yield Residue(path=shown, names=tuple(sorted(names)), member=member)
    except MemoryError:
        yield Residue(path=shown, names=())


def _scrub(place: bytes, found: Residue, values: Mapping[str, SecretValue], search: ResidueSearch) -> None:
    """Remove a cache's file, and attributes; rewrite a small text file in place; leave everything else as it is."""
    try:
        for attribute, _ in list(_attributes_with_values(place, search)):
            os.removexattr(place, attribute, follow_symlinks=False)
        status = os.lstat(place)
        if not stat.S_ISREG(status.st_mode):
            return
        if found.can_be_made_again:
            os.unlink(place)
        elif status.st_nlink == 1 and status.st_size <= LARGEST_REWRITTEN_BYTES:
            _rewrite(place, values)
    except OSError:
        return  # the search that comes next tells that it is still there


def _rewrite(place: bytes, values: Mapping[str, SecretValue]) -> None:
    with open(os.open(place, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC), "r+b", buffering=0) as file:
        content = file.read()
        if b"\0" in content or not _is_text(content):
            return
        redactor = MaskingRedactor(values)
        cleaned = redactor.feed(content) + redactor.flush()
        file.seek(0)
        file.truncate()
        file.write(cleaned)


def _is_text(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


if __name__ == "__main__":
    main()
