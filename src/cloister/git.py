"""Runs git on the host: without the user's settings, hooks, prompts or helpers, and never over a sandbox's tree."""

import os
import resource
import signal
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, PIPE
from typing import BinaryIO

import anyio
from anyio.abc import ByteReceiveStream, Process

from cloister.errors import HostError, RepositoryError

NO_REPOSITORY = Path("/dev/null")
"""As `git_dir`: git shall find no repository at all, wherever it was started."""

PROGRAMS_PATH = "/usr/local/bin:/usr/bin:/bin"
"""Where git finds what it starts."""
_CONFIG = Path(__file__).with_name("git.config")
PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY", "ALL_PROXY")
"""Which git obeys; of the first there is no form in capitals, because a CGI program's caller could set that."""
_KEPT_VARIABLES = (
    *PROXY_VARIABLES,
    *("no_proxy", "NO_PROXY"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO", "GIT_SSL_CAPATH"),
)
"""How this host reaches the network is for its administrator to say; nothing else of our environment is handed on."""
_VARIABLES = {
    "PATH": PROGRAMS_PATH,
    "HOME": "/nonexistent",
    "LC_ALL": "C.UTF-8",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": str(_CONFIG),
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_ALLOW_PROTOCOL": "file:http:https",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "/bin/false",
    "SSH_ASKPASS": "/bin/false",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_REPLACE_OBJECTS": "1",
    # A partial clone must not make us fetch, with its own settings, what it lacks (CVE-2024-32004).
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_ADVICE": "0",
    "GIT_EDITOR": "/bin/false",
    "GIT_PAGER": "cat",
}
_MIB = 1024 * 1024
_GIB = 1024 * _MIB
_LAST_LINES = 5


class OutputLimitError(RepositoryError):
    """Git printed more than the caller takes; it was killed."""


@dataclass(frozen=True, slots=True)
class GitOutput:
    """What one git process left."""

    status: int
    stdout: bytes
    stderr: str


async def run_git(
    arguments: Sequence[str],
    *,
    git_dir: Path,
    stdin: bytes | BinaryIO = b"",
    variables: Mapping[str, str] | None = None,
    accept: Collection[int] = (0,),
    timeout_seconds: float = 60.0,
    limit_bytes: int = 256 * _MIB,
    memory_bytes: int = 4 * _GIB,
) -> GitOutput:
    """Run one git command on `git_dir` and return what it printed.

    Whoever calls puts what a stranger may have written behind `--` or into standard input, never where git
    looks for options. The command and all it started are killed at the deadline, when it prints more than
    `limit_bytes`, and on cancellation. A git that allocates more than `memory_bytes` fails: what it reads may have
    been made for that, and it shares the memory of this host.

    Raises RepositoryError, with git's last lines, for a status not in `accept` and at the deadline, OutputLimitError
    for too much output, and HostError when there is no git.
    """
    environment = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    environment |= _VARIABLES | {"GIT_DIR": str(git_dir)} | dict(variables or {})
    try:
        with anyio.fail_after(timeout_seconds):
            output = await _run(["git", *arguments], environment, stdin, limit_bytes, memory_bytes)
    except TimeoutError as error:
        raise RepositoryError(f"git {arguments[0]} did not end within {timeout_seconds:g} s") from error
    if output.status not in accept:
        raise RepositoryError(f"git {arguments[0]} failed: {last_lines(output.stderr) or f'status {output.status}'}")
    return output


async def read_sizes(blobs: Collection[str], *, git_dir: Path) -> Mapping[str, int]:
    """Return the size in bytes of each of these blobs, full object ids, that is there."""
    checked = await _cat("--batch-check=%(objectname) %(objectsize)", blobs, git_dir)
    lines = (line.split() for line in checked.decode().splitlines())
    return {blob: int(size) for blob, size in lines if size.isdigit()}


async def read_blobs(blobs: Collection[str], *, git_dir: Path) -> Mapping[str, bytes]:
    """Return the content of each of these blobs, full object ids. All of them are held in memory."""
    rest = await _cat("--batch=%(objectname) %(objectsize)", blobs, git_dir)
    contents = {}
    while rest:  # a line with the size, the bytes, a newline
        head, _, rest = rest.partition(b"\n")
        blob, size = head.decode().split()
        contents[blob] = rest[: int(size)]
        rest = rest[int(size) + 1 :]
    return contents


async def _cat(how: str, blobs: Collection[str], git_dir: Path) -> bytes:
    names = "".join(f"{blob}\n" for blob in blobs)
    return (await run_git(["cat-file", how], git_dir=git_dir, stdin=names.encode())).stdout if names else b""


def with_settings(variables: Mapping[str, str], more: Mapping[str, str]) -> Mapping[str, str]:
    """Return variables of git's with settings of both (GIT_CONFIG_COUNT; see git-config(1))."""
    count, added = int(variables.get("GIT_CONFIG_COUNT", "0")), int(more.get("GIT_CONFIG_COUNT", "0"))
    merged = {**more, **variables, "GIT_CONFIG_COUNT": str(count + added)} if count + added else {**more, **variables}
    for number in range(added):
        for part in ("KEY", "VALUE"):
            merged[f"GIT_CONFIG_{part}_{count + number}"] = more[f"GIT_CONFIG_{part}_{number}"]
    return merged


def last_lines(stderr: str) -> str:
    """Return what git said last, on one line and without its prefixes."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip() and not line.startswith("hint:")]
    return "; ".join(line.removeprefix("fatal: ").removeprefix("error: ") for line in lines[-_LAST_LINES:])


async def _run(
    command: Sequence[str], environment: Mapping[str, str], stdin: bytes | BinaryIO, limit_bytes: int, memory_bytes: int
) -> GitOutput:
    feed = stdin if isinstance(stdin, bytes) else b""
    source = (PIPE if stdin else DEVNULL) if isinstance(stdin, bytes) else stdin
    try:
        # A session of its own, so that what git starts (a transport, upload-pack) can be killed with it.
        process = await anyio.open_process(
            command, stdin=source, stdout=PIPE, stderr=PIPE, env=environment, cwd="/", start_new_session=True
        )
    except FileNotFoundError as error:
        raise HostError("git is not installed", hint="install it: apt-get install git") from error
    try:
        _limit_memory(process, memory_bytes)
        return await _communicate(process, feed, limit_bytes)
    except BaseException:
        _kill(process)
        raise
    finally:
        with anyio.CancelScope(shield=True):
            await process.aclose()


def _limit_memory(process: Process, limit_bytes: int) -> None:
    """Limit what it allocates, not the packs that it maps. Set from outside, it costs no program in between."""
    with suppress(ProcessLookupError):
        resource.prlimit(process.pid, resource.RLIMIT_DATA, (limit_bytes, limit_bytes))


def _kill(process: Process) -> None:
    """Kill it, and what it started: the leader of a process group keeps its number until it is waited for."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


async def _communicate(process: Process, feed: bytes, limit_bytes: int) -> GitOutput:
    stdout, stderr = bytearray(), bytearray()
    assert process.stdout is not None
    assert process.stderr is not None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_feed, process, feed)
        tasks.start_soon(_drain, process.stderr, stderr)
        complete = await _read(process.stdout, stdout, limit_bytes)
        if not complete:
            _kill(process)
    status = await process.wait()
    if not complete:
        raise OutputLimitError(f"git printed more than {limit_bytes} bytes")
    return GitOutput(status=status, stdout=bytes(stdout), stderr=stderr.decode(errors="replace"))


async def _feed(process: Process, feed: bytes) -> None:
    if process.stdin is None:
        return
    # A git that has seen enough closes its end; its status says whether that was right.
    with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
        if feed:
            await process.stdin.send(feed)
        await process.stdin.aclose()


async def _read(stream: ByteReceiveStream, into: bytearray, limit_bytes: int) -> bool:
    """Read to the end; False as soon as it is more than the limit."""
    async for data in stream:
        into += data
        if len(into) > limit_bytes:
            return False
    return True


async def _drain(stream: ByteReceiveStream, into: bytearray) -> None:
    async for data in stream:
        into += data
        del into[: -64 * 1024]
