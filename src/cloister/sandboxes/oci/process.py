"""A running or ended container, seen from the worker through its supervisor's files and socket."""

import contextlib
import json
import os
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import anyio

from cloister.errors import HostError, SandboxError
from cloister.model.sandbox import Chunk, EndCause, Exit, Stream
from cloister.sandboxes.oci.supervisor import FRAME

READ_BYTES = 256 * 1024
_STREAMS = {1: Stream.STDOUT, 2: Stream.STDERR, 3: Stream.NOTE}


class OciProcess:
    """`protocols.Process`, over the directory that the supervisor writes to."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def output(self, offset: int = 0) -> AsyncIterator[Chunk]:
        """Yield frames from `offset`; see `protocols.Process`."""
        watch = connect_watch(self._directory)
        try:
            while True:
                # The order matters: what is read after the sign of the end is all there is.
                ended = watch is None
                chunks = self._read_chunks(offset)
                if not chunks and watch is not None:
                    await anyio.wait_readable(watch)
                    ended = not _drain(watch)
                    chunks = self._read_chunks(offset)
                for chunk in chunks:
                    offset = chunk.end
                    yield chunk
                if ended and not chunks:
                    return
        finally:
            if watch is not None:
                watch.close()

    async def wait(self) -> Exit:
        """Return how it ended; see `protocols.Process`."""
        while (result := self._find_exit()) is None:
            watch = connect_watch(self._directory)
            if watch is None:
                break
            with watch:
                await until_gone(watch)
        result = result or self._find_exit()
        if result is None:
            raise SandboxError(f"the supervisor of {self._directory.name!r} was killed, so its exit status is unknown")
        if result.cause is EndCause.NO_ROOM:
            raise SandboxError(
                f"{self._directory.name!r} was stopped: less than a quarter of the host's {self._directory} is free",
                hint="run fewer attempts at once, or make that tmpfs larger",
            )
        return result

    async def lay(self, name: str, data: bytes) -> None:
        """Write beside, and rename; see `protocols.Process`."""
        draft = self._directory / f".{name}"
        with contextlib.suppress(FileNotFoundError):  # its sandbox is being destroyed
            draft.write_bytes(data)
            draft.chmod(0o444)
            draft.rename(self._directory / "files" / name)

    @contextlib.contextmanager
    def awake(self) -> Iterator[None]:
        """Hold a connection, with which it ends that we wait; see `protocols.Process`."""
        watch = connect_watch(self._directory)
        if watch is None:
            yield
            return
        with watch:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it is just going
                watch.send(b"awake\n")
            yield

    async def stop(self, grace_seconds: float = 0.0) -> None:
        """Ask it to end, then kill it; see `protocols.Process`."""
        watch = connect_watch(self._directory)
        if watch is None:
            return
        with watch:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it is just going
                watch.send(f"stop {grace_seconds}\n".encode())
            await until_gone(watch)

    def _read_chunks(self, offset: int) -> list[Chunk]:
        try:
            with (self._directory / "output").open("rb") as file:
                file.seek(offset)
                data = file.read(READ_BYTES)
        except FileNotFoundError:  # its supervisor has not come that far
            return []
        return list(_parse_frames(data, offset))

    def _find_exit(self) -> Exit | None:
        try:
            ended = json.loads((self._directory / "exit").read_bytes())
        except FileNotFoundError:
            return None
        if ended["cause"] == "not started":
            raise HostError(
                f"the OCI runtime could not start {self._directory.name!r}: {ended['message'].strip()}",
                hint="cloister doctor",
            )
        return Exit(status=ended["status"], cause=EndCause(ended["cause"]), running=tuple(ended["running"]))


def connect_watch(directory: Path) -> socket.socket | None:
    """Return a connection to the supervisor that writes to `directory`, None when it has gone."""
    watch = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    watch.setblocking(False)
    try:
        # A path through /proc keeps within the 107 bytes of sun_path, wherever the directory is.
        folder = os.open(directory, os.O_PATH)
        try:
            watch.connect(f"/proc/self/fd/{folder}/watch")
        finally:
            os.close(folder)
    except (ConnectionRefusedError, FileNotFoundError):
        watch.close()
        return None
    return watch


async def until_gone(watch: socket.socket) -> None:
    """Return when the supervisor has gone: then the container is dead and removed, and its end is written down."""
    while True:
        await anyio.wait_readable(watch)
        if not _drain(watch):
            return


def _drain(watch: socket.socket) -> bytes:
    try:
        return watch.recv(4096)
    except ConnectionResetError:
        return b""


def _parse_frames(data: bytes, offset: int) -> Iterator[Chunk]:
    """Yield the whole frames at the start of `data`, which lies at `offset`."""
    place = 0
    while place + FRAME.size <= len(data):
        number, length = FRAME.unpack_from(data, place)
        start = place + FRAME.size
        if start + length > len(data):
            return
        place = start + length
        yield Chunk(_STREAMS[number], data[start:place], offset + place)
