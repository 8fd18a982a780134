"""Repositories that came as bundles: the mirror is all there is of them."""

import os
import tempfile
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import anyio
import anyio.to_thread

from cloister.errors import CloisterError, NotFoundError, RepositoryError, UsageError
from cloister.forges.mirror import Mirror
from cloister.forges.remote import HEADS, Remote, read_remote
from cloister.forges.sent import find_room, no_room, note_use
from cloister.model.bundle import MOST_SENT_BYTES
from cloister.model.sandbox import Commit

_WRITTEN_AT_ONCE = 1024 * 1024


async def take_bundle(
    mirror: Mirror,
    address: str,
    bundle: AsyncIterable[bytes],
    *,
    head: str | None,
    most_bytes: int = MOST_SENT_BYTES,
) -> None:
    """Make the mirror what the bundle holds; see `protocols.Forge`."""
    mirrors = mirror.path.parent
    mirrors.mkdir(parents=True, exist_ok=True)
    room = await anyio.to_thread.run_sync(find_room, mirrors, address, most_bytes)
    async with _kept(bundle, mirrors, room=room, refusal=no_room(most_bytes)) as path:
        try:
            found = await read_remote(str(path))
        except CloisterError as error:
            raise UsageError("what was sent is no git bundle", hint="make one: git bundle create") from error
        remote = _with_head(replace(found, address=address), head)
        if not remote.refs and remote.head_commit is None:
            raise NotFoundError("the bundle has no branch or tag", hint="make it with: --branches --tags HEAD")
        try:
            await mirror.take(path, remote)
            note_use(mirror, address)
        except RepositoryError as error:
            raise UsageError(f"the bundle cannot be used: {error.message.replace(str(path), 'it')}") from error


async def read_bundle(mirror: Mirror, address: str) -> Remote:
    """Return what a repository that came as a bundle says of itself. NotFoundError when none came."""
    if not mirror.path.exists():
        raise NotFoundError(f"nobody has sent the repository {address}", hint="send it: cloister run --repo PATH")
    note_use(mirror, address)
    return replace(await read_remote(str(mirror.path)), address=address)


@asynccontextmanager
async def _kept(
    bundle: AsyncIterable[bytes], directory: Path, *, room: int, refusal: UsageError
) -> AsyncIterator[Path]:
    """Write it, as far as there is room, into a file that has no name, and yield a way to it.

    So nothing is left of it however we end.
    """
    with tempfile.TemporaryFile(dir=directory, buffering=_WRITTEN_AT_ONCE) as file:
        async for part in bundle:
            room -= len(part)
            if room < 0:
                raise refusal
            await anyio.to_thread.run_sync(file.write, part)
        file.flush()
        yield Path(f"/proc/{os.getpid()}/fd/{file.fileno()}")


def _with_head(remote: Remote, head: str | None) -> Remote:
    """Say which branch is the default one: a bundle does not."""
    if head is None:
        return remote
    if HEADS + head not in remote.refs:
        raise UsageError(f"the bundle has no branch {head!r} for its HEAD")
    return replace(remote, head_branch=head, head_commit=Commit(remote.refs[HEADS + head]))
