"""The program that searches a disk for secrets: a process of its own, without a network or rights it does not need.

It reads what anybody may have written, archives among it, so it must not be us.
"""

import bz2
import contextlib
import gzip
import json
import lzma
import os
import stat
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, Protocol

import anyio

from cloister.errors import SandboxError
from cloister.masking import MaskingRedactor
from cloister.model.residue import Residue
from cloister.model.secret import SecretValue
from cloister.residue import CHUNK_BYTES, ResidueSearch

LARGEST_UNPACKED_BYTES = 4 * 1024**3
"""Of one archive."""
LARGEST_REWRITTEN_BYTES = 1024 * 1024
_MOST_SHOWN = 1000
_MEMORY_BYTES = 2 * 1024**3
_HEAD_BYTES = 512
_DAMAGED = (OSError, EOFError, ValueError, RuntimeError, NotImplementedError, zipfile.BadZipFile, tarfile.TarError)
_UNPACK_ERRORS = (*_DAMAGED, lzma.LZMAError, zlib.error)
_OPEN_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


async def search_disk(root: Path, values: Mapping[str, SecretValue], *, scrub: Sequence[str] = ()) -> Sequence[Residue]:
    """Search the tree `root`, in which nothing runs, and return what holds a value, sorted by path.

    With `scrub`, paths that a search found: first rewrite the text files among them and remove what is a cache, and
    then search only those. SandboxError when the search cannot be done: then nothing is known.
    """
    order = {
        "root": str(root),
        "values": {name: value.reveal() for name, value in values.items()},
        "scrub": list(scrub),
    }
    capabilities = "+dac_override" if scrub else "+dac_read_search"
    command = (
        *("unshare", "--net", "--ipc", "--", "prlimit", f"--as={_MEMORY_BYTES}", "--"),
        *("setpriv", "--pdeathsig", "KILL", "--no-new-privs", "--inh-caps=-all", f"--bounding-set=-all,{capabilities}"),
        *("--", sys.executable, "-I", "-B", "-m", __name__),
    )
    done = await anyio.run_process(command, input=json.dumps(order).encode(), check=False)
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
    for path in paths:
        if order["scrub"]:
            _scrub(root + path, Residue(path=os.fsdecode(path), names=()), values)
        for found in _search_entry(root, path, search):
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


def _search_entry(root: bytes, path: bytes, search: ResidueSearch) -> Iterator[Residue]:
    """Search the entry's name, and what it holds or points to."""
    shown = os.fsdecode(path)
    try:
        status = os.lstat(root + path)
        texts = [os.path.basename(path)]
        if stat.S_ISLNK(status.st_mode):
            texts.append(os.readlink(root + path))
        if names := search.names_in([b"\n".join(texts)]):
            yield Residue(path=shown, names=tuple(sorted(names)))
        if stat.S_ISREG(status.st_mode) and status.st_size:
            yield from _search_file(root + path, shown, search)
    except FileNotFoundError:  # a cache that was removed
        return
    except OSError:  # too deep a path, or a disk that fails: what is not searched is not clean
        yield Residue(path=shown, names=())


def _search_file(place: bytes, shown: str, search: ResidueSearch) -> Iterator[Residue]:
    with open(os.open(place, _OPEN_FLAGS), "rb", buffering=0) as file:
        head = file.read(_HEAD_BYTES)
        names = search.names_in(_chunks(file, head))
        if names:
            yield Residue(path=shown, names=tuple(sorted(names)))
            return
        file.seek(0)
        yield from _search_archive(file, head, shown, search)


def _chunks(file: IO[bytes], head: bytes = b"") -> Iterator[bytes]:
    if head:
        yield head + (file.read(CHUNK_BYTES - len(head)) or b"")
    while chunk := file.read(CHUNK_BYTES):
        yield chunk


def _search_archive(file: IO[bytes], head: bytes, shown: str, search: ResidueSearch) -> Iterator[Residue]:
    """Search what is packed in the file, one level deep. One that is damaged is no archive to anybody."""
    with contextlib.suppress(*_UNPACK_ERRORS):
        for member, content in _members(file, head):
            if names := search.names_in(_bounded(content)):
                yield Residue(path=shown, names=tuple(sorted(names)), member=member)


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def _members(file: IO[bytes], head: bytes) -> Iterator[tuple[str, _Readable]]:
    if head.startswith(b"PK\x03\x04"):
        with zipfile.ZipFile(file) as archive:
            for entry in archive.infolist():
                if not entry.is_dir() and entry.compress_type != zipfile.ZIP_STORED:
                    with contextlib.suppress(*_UNPACK_ERRORS), archive.open(entry) as content:
                        yield entry.filename, content
        return
    opener = next((opener for magic, opener in _PACKED.items() if head.startswith(magic)), None)
    if opener is None:
        return
    yield "its content", opener(file)  # a tar in there holds files as they are


_PACKED: Mapping[bytes, Callable[[IO[bytes]], _Readable]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
}


def _bounded(content: _Readable) -> Iterator[bytes]:
    left = LARGEST_UNPACKED_BYTES
    while left > 0 and (chunk := content.read(CHUNK_BYTES)):
        left -= len(chunk)
        yield chunk


def _scrub(place: bytes, found: Residue, values: Mapping[str, SecretValue]) -> None:
    """Remove a cache's file, and rewrite a small text file in place; leave everything else as it is."""
    try:
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
