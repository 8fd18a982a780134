"""Starting containers: a bundle on tmpfs, a supervisor of its own, and the process to follow."""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import anyio

from cloister.errors import HostError, SandboxError
from cloister.model.given import GIVEN
from cloister.sandboxes.oci import cgroup, supervisor
from cloister.sandboxes.oci.bundle import UID_BASE, Bundle
from cloister.sandboxes.oci.paths import make_passage
from cloister.sandboxes.oci.process import OciProcess
from cloister.sandboxes.oci.runtime import Runtime
from cloister.sandboxes.oci.volume import SHARE_LEFT, mounted_at

SHELL_DOCUMENT = "shell.json"
"""Beside a container that people may enter: the process that they get."""
STOP_SECONDS = 10.0
"""For a supervisor to end its container; afterwards the runtime does."""


class Containers:
    """The node's containers, each in a directory that its supervisor and we share."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self._lock = anyio.Lock()
        self._spawner: subprocess.Popen[bytes] | None = None
        self._requests: socket.socket | None = None

    def open(self) -> None:
        """Start the spawner, see `supervisor`, unless it runs. The first start of a container does it otherwise."""
        if self._requests is not None:
            return
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, _closing(self.runtime.seal()) as runtime:
            given = (theirs.fileno(), *runtime)
            self._spawner = subprocess.Popen(
                [sys.executable, "-I", "-S", supervisor.__file__, *map(str, given)],
                pass_fds=given,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                cwd="/",
                env={"PATH": os.environ.get("PATH", os.defpath)},
            )
        ours.setblocking(False)
        self._requests = ours

    def close(self) -> None:
        """Stop the spawner. What it has started goes on."""
        if self._requests is not None and self._spawner is not None:
            self._requests.close()
            self._spawner.wait()
        self._requests = self._spawner = None

    def find(self, directory: Path) -> OciProcess | None:
        """Return the process of that directory, running or ended; None when none was ever started there."""
        started = any((directory / name).exists() for name in ("exit", "watch"))
        return OciProcess(directory) if started else None

    async def start(
        self,
        directory: Path,
        bundle: Bundle,
        *,
        stdin: bytes,
        files: Mapping[str, bytes],
        timeout_seconds: float,
        stuck_seconds: float | None = None,
        output_bytes: int,
        volume: Path | None = None,
        listeners: Sequence[int] = (),
    ) -> OciProcess:
        """Start `bundle`. `directory` is replaced; `files` are found below its `files`.

        Of a command that fails it is told when `volume`, which it writes to, was full. Its supervisor holds duplicates
        of the descriptors `listeners`.
        """
        shutil.rmtree(directory, ignore_errors=True)
        make_passage(directory, UID_BASE)
        (directory / "files" / GIVEN.rpartition("/")[2]).mkdir(parents=True)  # a place to mount at
        os.chown(directory / "files", UID_BASE, UID_BASE)  # some programs obey no settings but root's
        for name, content in {**{f"files/{name}": content for name, content in files.items()}, "stdin": stdin}.items():
            path = directory / name
            path.write_bytes(content)
            os.chown(path, UID_BASE, UID_BASE)
            path.chmod(0o444)
        (directory / "config.json").write_text(json.dumps(bundle.document()))
        if bundle.shell:
            (directory / SHELL_DOCUMENT).write_text(json.dumps(bundle.shell_process()))
        order = {
            "directory": str(directory),
            "argv": self.runtime.run(directory, bundle.container, terminal=bundle.terminal),
            "terminal": bundle.terminal,
            "delete": self.runtime.delete(bundle.container),
            "hide": self.runtime.hide,
            "timeout_seconds": timeout_seconds,
            "output_bytes": output_bytes,
            "stuck_seconds": stuck_seconds,
            "cpu": cgroup.time_counters(bundle.container),
            "counters": cgroup.memory_counters(bundle.container),
            "volume": [str(mounted_at(volume)), SHARE_LEFT] if volume is not None else None,
            "members": cgroup.member_file(bundle.container),
            "enterable": bool(bundle.shell),
        }
        await self._ask(order, listeners)
        return OciProcess(directory)

    async def remove(self, directory: Path, container: str) -> None:
        """End a container and forget it, also when its supervisor was killed or hangs. Absent is not an error."""
        with anyio.move_on_after(STOP_SECONDS):
            await OciProcess(directory).stop()
        if (self.runtime.root / container).exists():
            await self._ask({"delete": self.runtime.delete(container), "hide": self.runtime.hide})
        shutil.rmtree(directory, ignore_errors=True)

    async def _ask(self, order: Mapping[str, object], descriptors: Sequence[int] = ()) -> None:
        async with self._lock:
            try:
                with anyio.CancelScope(shield=True):  # an answer that nobody took would be taken for the next one's
                    answer = await self._exchange(json.dumps(order).encode(), descriptors)
            except OSError as error:
                self.close()
                raise SandboxError(f"the spawner of supervisors has gone: {error}") from error
            if not answer:
                self.close()
                raise SandboxError("the spawner of supervisors was killed while it worked; the next one takes over")
        if answer != b"ok":
            raise HostError(f"no supervisor could be started: {answer.decode()}", hint="cloister doctor")

    async def _exchange(self, request: bytes, descriptors: Sequence[int]) -> bytes:
        try:
            socket.send_fds(self._open_requests(), [request], descriptors)
        except BrokenPipeError:  # it was killed while it waited, so nothing was read of this
            self.close()
            socket.send_fds(self._open_requests(), [request], descriptors)
        requests = self._open_requests()
        await anyio.wait_readable(requests)
        return requests.recv(1000)

    def _open_requests(self) -> socket.socket:
        self.open()
        assert self._requests is not None
        return self._requests


@contextmanager
def _closing(descriptor: int | None) -> Iterator[tuple[int, ...]]:
    """Yield it, where there is one, and close it."""
    try:
        yield () if descriptor is None else (descriptor,)
    finally:
        if descriptor is not None:
            os.close(descriptor)
