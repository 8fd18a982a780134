"""Merges layers of an overlay into one that shows the same: files are linked, not copied, and nothing is followed.

As a program, `python -m cloister.sandboxes.oci.layer_merge TARGET LAYER... -- BELOW...`, it says on standard error why
it could not.

The trees are hostile: every name is looked up in an open directory, without symlinks, and no file is opened but one
that has too many names already. A mark of overlayfs that only a following mount would heed is a refusal.
"""

import errno
import os
import resource
import shutil
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from anyio import run_process

from cloister.errors import SandboxError

DEEPEST = 256
"""Folders in folders; a deeper tree stays as it is."""
_OVERLAY = "trusted.overlay."
_OPAQUE = "trusted.overlay.opaque"
_REDIRECT = "trusted.overlay.redirect"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def merge_layers(layers: Sequence[Path], below: Sequence[Path], target: Path) -> None:
    """Make `target` the one layer that shows above `below` what `layers` do, each topmost first, on one file system.

    SandboxError when a tree is one that cannot be merged; what was made until then is the caller's to remove.
    """
    target.mkdir(mode=0o700)
    with ExitStack() as opened:
        ours, theirs, [into] = (
            [opened.enter_context(_opened(str(path))) for path in paths] for paths in (layers, below, [target])
        )
        _fill(into, ours, theirs, depth=0)
        _copy_attributes(ours[0], into)


async def merge_apart(layers: Sequence[Path], below: Sequence[Path], target: Path) -> None:
    """Do as `merge_layers` does in a process of its own: a deep tree takes more descriptors than ours may have."""
    command = [sys.executable, "-m", __name__, target, *layers, "--", *below]
    done = await run_process([str(word) for word in command], check=False)
    if done.returncode != 0:
        raise SandboxError(done.stderr.decode(errors="replace").strip()[-500:] or "layers could not be merged")


def main() -> None:
    """Run as a program."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    target, *rest = sys.argv[1:]
    layers, below = rest[: rest.index("--")], rest[rest.index("--") + 1 :]
    try:
        merge_layers([Path(path) for path in layers], [Path(path) for path in below], Path(target))
    except (SandboxError, OSError) as error:
        sys.exit(str(error))


def _fill(into: int, ours: Sequence[int], below: Sequence[int], *, depth: int) -> None:
    if depth > DEEPEST:
        raise SandboxError(f"a tree is more than {DEEPEST} folders deep")
    holders: dict[str, list[int]] = {}
    for layer in ours:
        with os.scandir(layer) as entries:
            for entry in entries:
                holders.setdefault(entry.name, []).append(layer)
    for name, having in holders.items():
        found = _stat(name, having[0])
        if found is None:
            raise SandboxError(f"{name!r} went away while it was merged")
        if stat.S_ISDIR(found.st_mode):
            _merge_directory(name, into, having, below, depth=depth)
        elif not _is_whiteout(found) or any(_stat(name, layer) is not None for layer in below):
            # A whiteout that hides nothing would be listed in a directory that only this layer has.
            _link(name, having[0], into, found)


def _merge_directory(name: str, into: int, having: Sequence[int], below: Sequence[int], *, depth: int) -> None:
    with ExitStack() as opened:
        ours, is_closed = _open_visible(name, having, opened)
        theirs, _ = ([], True) if is_closed else _open_visible(name, below, opened)
        os.mkdir(name, 0o700, dir_fd=into)
        made = opened.enter_context(_opened(name, into))
        _fill(made, ours, theirs, depth=depth + 1)
        if is_closed and any(_stat(name, layer) is not None for layer in below):
            os.setxattr(made, _OPAQUE, b"y")
        _copy_attributes(ours[0], made)


def _open_visible(name: str, layers: Sequence[int], opened: ExitStack) -> tuple[list[int], bool]:
    """Return the directories of that name that are seen through each other, and whether none further down is."""
    seen: list[int] = []
    for layer in layers:
        found = _stat(name, layer)
        if found is None:
            continue
        if not stat.S_ISDIR(found.st_mode):
            return seen, True
        seen.append(opened.enter_context(_opened(name, layer)))
        marks = os.listxattr(seen[-1])
        if _REDIRECT in marks:
            raise SandboxError(f"{name!r} points to another folder of its layer")
        if _OPAQUE in marks and os.getxattr(seen[-1], _OPAQUE) == b"y":
            return seen, True
    return seen, False


def _link(name: str, layer: int, into: int, found: os.stat_result) -> None:
    try:
        os.link(name, name, src_dir_fd=layer, dst_dir_fd=into, follow_symlinks=False)
    except OSError as error:
        if error.errno != errno.EMLINK:
            raise
        if _is_whiteout(found):
            os.mknod(name, found.st_mode, found.st_rdev, dir_fd=into)
        elif stat.S_ISREG(found.st_mode):
            _copy_file(name, layer, into)
        else:
            raise


def _copy_file(name: str, layer: int, into: int) -> None:
    flags = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    with (
        os.fdopen(os.open(name, os.O_RDONLY | flags, dir_fd=layer), "rb") as source,
        os.fdopen(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | flags, 0o600, dir_fd=into), "wb") as copy,
    ):
        shutil.copyfileobj(source, copy, 1 << 20)
        copy.flush()
        _copy_attributes(source.fileno(), copy.fileno())


def _copy_attributes(source: int, made: int) -> None:
    """Owner, mode, extended attributes and times. The marks of overlayfs are left: those that count are set anew."""
    found = os.fstat(source)
    os.fchown(made, found.st_uid, found.st_gid)
    os.fchmod(made, stat.S_IMODE(found.st_mode))
    for key in os.listxattr(source):
        if not key.startswith(_OVERLAY):
            os.setxattr(made, key, os.getxattr(source, key))
    os.utime(made, ns=(found.st_atime_ns, found.st_mtime_ns))


def _is_whiteout(found: os.stat_result) -> bool:
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


def _stat(name: str, directory: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None


@contextmanager
def _opened(name: str, directory: int | None = None) -> Iterator[int]:
    descriptor = os.open(name, _DIRECTORY, dir_fd=directory)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    main()
