"""Lets people into running containers: starts an `entrance`, and gives them their end of the terminal."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import anyio
from anyio import to_thread

from cloister.errors import NotFoundError, SandboxError
from cloister.protocols import EnteredShell
from cloister.sandboxes.oci.containers import SHELL_DOCUMENT
from cloister.sandboxes.oci.runtime import Runtime
from cloister.sandboxes.oci.terminal import OciTerminal

_PROGRAM = "import sys; sys.path.insert(0, sys.argv[1]); from cloister.sandboxes.oci.entrance import main; main({})"
_ANSWER_SECONDS = 30.0
_MESSAGE_BYTES = 4096


def find_enterable(processes: Path) -> Path:
    """Return the directory of the command that runs and may be entered. NotFoundError when there is none."""
    for directory in sorted(processes.glob("*")):
        if (directory / SHELL_DOCUMENT).exists() and not (directory / "exit").exists():
            return directory
    raise NotFoundError("no agent runs there now", hint="its state: cloister task show")


async def enter(runtime: Runtime, directory: Path, container: str, *, terminal: str) -> "OciEnteredShell":
    """Start a shell in the container of that directory; see `SandboxBackend.enter`."""
    place = Path(tempfile.mkdtemp(prefix="e", dir=directory))
    state = runtime.state_to_enter(container)
    order = {
        "directory": str(directory),
        "place": str(place),
        "state": None if state is None else str(state),
        "argv": runtime.enter(place, container),
        "hide": runtime.hide,
        "terminal": terminal,
    }
    ours = await to_thread.run_sync(_open_entrance, order)
    try:
        with anyio.move_on_after(_ANSWER_SECONDS):
            await anyio.wait_readable(ours)
        message, descriptors = _hear(ours)
    except BaseException:
        ours.close()
        raise
    finally:
        shutil.rmtree(place, ignore_errors=True)
    if not descriptors:
        ours.close()
        raise SandboxError(f"no shell could be opened: {message.removeprefix('e ') or 'no answer'}")
    os.set_blocking(descriptors[0], False)
    os.set_inheritable(descriptors[0], False)
    return OciEnteredShell(descriptors[0], ours, number=int(message.removeprefix("t ")))


def _open_entrance(order: Mapping[str, object]) -> socket.socket:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ourselves = str(Path(__file__).parents[3])
    with theirs:
        subprocess.run(  # it forks at once
            [sys.executable, "-I", "-S", "-c", _PROGRAM.format(theirs.fileno()), ourselves],
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
            env={"PATH": os.environ.get("PATH", os.defpath)},
            check=False,
        )
    ours.setblocking(False)
    ours.send(json.dumps(order).encode())
    return ours


def _hear(ours: socket.socket) -> tuple[str, list[int]]:
    try:
        message, descriptors, _, _ = socket.recv_fds(ours, _MESSAGE_BYTES, 1)
    except (BlockingIOError, ConnectionResetError):
        return "", []
    return message.decode(errors="replace"), descriptors


class OciEnteredShell(OciTerminal):
    """`protocols.EnteredShell` over a descriptor, and the connection to its entrance."""

    def __init__(self, descriptor: int, entrance: socket.socket, *, number: int) -> None:
        super().__init__(descriptor, entrance)
        self.number = number
        self.status: int | None = None

    async def read(self) -> bytes:
        """Return what was written; what a background process writes after the shell's end is not waited for."""
        while self.status is None and self._descriptor >= 0:
            await self._either_readable()
            data = self._read_now()
            if data:
                return data
            await self._hear_end(wait=data is None)
        return self._read_now() or b""

    async def _either_readable(self) -> None:
        async with anyio.create_task_group() as group:

            async def wait_for(source: int | socket.socket) -> None:
                await anyio.wait_readable(source)
                group.cancel_scope.cancel()

            group.start_soon(wait_for, self._descriptor)
            group.start_soon(wait_for, self._watch)

    def _read_now(self) -> bytes | None:
        """Return what is there, nothing when there is nothing yet, None when nobody has the other end any more."""
        try:
            return os.read(self._descriptor, _MESSAGE_BYTES)
        except BlockingIOError:
            return b""
        except OSError:
            return None

    async def _hear_end(self, *, wait: bool) -> None:
        if wait:
            await anyio.wait_readable(self._watch)
        with contextlib.suppress(BlockingIOError):
            told = self._watch.recv(_MESSAGE_BYTES)
            self.status = int(told.removeprefix(b"x ")) if told.startswith(b"x ") else 137


def _conforms(shell: OciEnteredShell) -> EnteredShell:
    return shell
