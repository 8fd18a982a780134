"""A dockerd of our own to be measured against: no network, its own directories, gone afterwards."""

import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import anyio
from anyio import to_thread

from cloister.sandboxes.oci.bundle import UID_BASE

IMAGE = "cloister-bench"
_STARTED_SECONDS = 60.0


class Docker:
    """The client of one daemon."""

    def __init__(self, socket: Path, daemon: int) -> None:
        self._command = ("docker", "--host", f"unix://{socket}")
        self.daemon = daemon
        """The id of its process."""

    async def call(self, *words: str) -> str:
        """Run one command of the docker client and return what it printed. Raises CalledProcessError."""
        answer = await anyio.run_process((*self._command, *words))
        return answer.stdout.decode()

    async def timed(self, *words: str) -> float:
        """Run one command and return the seconds until it was done."""
        begun = time.perf_counter()
        await self.call(*words)
        return time.perf_counter() - begun

    async def import_rootfs(self, rootfs: Path) -> None:
        """Make the image `IMAGE` of a root file system of ours, its owners shifted back."""
        await to_thread.run_sync(_pipe_archive, rootfs, (*self._command, "import", "-", IMAGE))


@asynccontextmanager
async def open_docker(state: Path) -> AsyncIterator[Docker]:
    """Start a daemon whose data lie below `state`, and end it and remove them afterwards."""
    data = Path(tempfile.mkdtemp(prefix="docker-", dir=state))
    run = Path(tempfile.mkdtemp(prefix="cloister-docker-", dir="/tmp"))
    socket = run / "docker.sock"
    with _daemon(data, run, socket) as daemon:
        docker = Docker(socket, daemon.pid)
        await _wait_for(docker, daemon, data / "log")
        yield docker
    shutil.rmtree(data)


@contextmanager
def _daemon(data: Path, run: Path, socket: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = (
        "dockerd",
        *("--bridge=none", "--iptables=false", "--ip6tables=false"),
        *("--data-root", str(data / "data"), "--exec-root", str(run / "exec")),
        *("--host", f"unix://{socket}", "--pidfile", str(run / "pid")),
    )
    with (data / "log").open("wb") as log:
        daemon = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield daemon
    finally:
        daemon.terminate()
        daemon.wait(30)
        shutil.rmtree(run, ignore_errors=True)
        shutil.rmtree(data / "data", ignore_errors=True)


async def _wait_for(docker: Docker, daemon: subprocess.Popen[bytes], log: Path) -> None:
    with anyio.move_on_after(_STARTED_SECONDS):
        while daemon.poll() is None:
            try:
                await docker.call("version")
            except subprocess.CalledProcessError:
                await anyio.sleep(0.1)
            else:
                return
    raise RuntimeError(f"dockerd did not start; its log is {log}")


def _pipe_archive(rootfs: Path, command: Sequence[str]) -> None:
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as client:
        assert client.stdin is not None
        with tarfile.open(fileobj=client.stdin, mode="w|") as archive:
            archive.add(rootfs, arcname=".", filter=_shift_back)
        client.stdin.close()
    if client.returncode != 0:
        raise RuntimeError(f"docker import ended with {client.returncode}")


def _shift_back(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid -= UID_BASE
    member.gid -= UID_BASE
    return member
