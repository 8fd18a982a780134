"""S2 and S16: what a sandbox could take from the host, from its supervisor and from git, and no longer can."""

import ctypes
import os
import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cloister.cli.terminal import neutralize
from cloister.egress.pace import Pace
from cloister.errors import RepositoryError
from cloister.git import run_git
from cloister.model.sandbox import EndCause, SandboxName
from cloister.sandboxes.oci.worktree import written
from cloister.sandboxes.oci.worktree.written import list_written

from .cells import Block, Cell

TAKE_BACK = r"""
import fcntl, os, random, struct, termios, time
try:
    own = [os.open(f"/proc/self/fd/{number}", os.O_RDONLY | os.O_NONBLOCK) for number in (1, 2)]
except PermissionError:
    raise SystemExit(0)  # runc leaves the pipes to us
def waiting():
    return struct.unpack("i", fcntl.ioctl(own[0], termios.FIONREAD, bytes(4)))[0]
stolen = 0
for _ in range(3000):
    os.write(2, b"e")
    os.write(1, b"y" * 40000)
    until = time.perf_counter_ns() + random.randrange(300_000)
    while time.perf_counter_ns() < until:
        pass
    try:
        stolen += len(os.read(own[1], 65536))
    except BlockingIOError:
        pass
    for _ in range(200):
        if not waiting():
            break
        time.sleep(0.001)
    else:
        time.sleep(600)  # nobody reads any more: out of reach
raise SystemExit(0 if stolen else 3)
"""
"""Reads its own output from the pipe, between the supervisor's `select` and its `read`."""


async def test_output_that_is_taken_back_does_not_stop_the_supervisor(cell: Cell) -> None:
    """Status 0 is the twin: it did take bytes back. Before, the supervisor hung after some hundred turns."""
    printed = await cell.run("/usr/bin/python3", "-c", TAKE_BACK, timeout_seconds=60.0, output_bytes=10**9)
    assert (printed.exit.status, printed.exit.cause) == (0, EndCause.EXITED)


GROW = """
import os, sys
target = os.memfd_create("open") if sys.argv[1:] else 0
try:
    with open(f"/proc/self/fd/{target}", "r+b") as file:
        file.truncate(10**6)
        print("grown")
except OSError as error:
    print(error.strerror)
"""


async def test_standard_input_cannot_be_written_to(cell: Cell) -> None:
    """It would grow on the host's tmpfs, where no limit of the sandbox's holds."""
    printed = await cell.run("/usr/bin/python3", "-c", GROW, stdin=b"the prompt")
    assert printed.stdout in ("Operation not permitted\n", "Permission denied\n")
    assert (await cell.sh("cat /proc/self/fd/0", stdin=b"the prompt")).stdout == "the prompt"


async def test_a_file_that_is_not_sealed_can_be_written_to_that_way(cell: Cell) -> None:
    """The twin."""
    assert (await cell.run("/usr/bin/python3", "-c", GROW, "unsealed")).stdout == "grown\n"


FILL_QUEUES = """
import ctypes, os
library = ctypes.CDLL("librt.so.1")
number = 0
while library.mq_open(b"/%d" % number, os.O_CREAT | os.O_RDWR, 0o600, None) >= 0:
    number += 1
print(number, flush=True)
import time; time.sleep(600)
"""


async def test_message_queues_of_a_sandbox_leave_room_for_the_host(cell: Cell) -> None:
    """They count for whoever made the user namespace, which is us."""
    _, most = resource.getrlimit(resource.RLIMIT_MSGQUEUE)
    process = await cell.start(f"exec /usr/bin/python3 -c '{FILL_QUEUES}'")
    with _message_queue() as descriptor:
        assert descriptor >= 0, "the host has none left"
    inside = await cell.run("/usr/bin/python3", "-c", "import resource as r; print(r.getrlimit(r.RLIMIT_MSGQUEUE)[1])")
    assert 0 < int(inside.stdout) <= most // 4, "the twin: the same number would have been enough to take all"
    await process.stop()


@contextmanager
def _message_queue() -> Iterator[int]:
    library, name = ctypes.CDLL("librt.so.1"), b"/cloister-test"
    descriptor: int = library.mq_open(name, os.O_CREAT | os.O_RDWR, 0o600, None)
    try:
        yield descriptor
    finally:
        if descriptor >= 0:
            os.close(descriptor)
            library.mq_unlink(name)


IO_SETUP = {"x86_64": 206, "aarch64": 0}


async def test_asynchronous_io_is_not_there_to_be_used_up(cell: Cell) -> None:
    """fs.aio-max-nr is one number for the whole machine. The twin: here outside there is some."""
    program = (
        "import ctypes, os; c = ctypes.CDLL(None, use_errno=True); context = ctypes.c_ulong(); "
        f"print(c.syscall({IO_SETUP[os.uname().machine]}, 1, ctypes.byref(context)), os.strerror(ctypes.get_errno()))"
    )
    assert (await cell.run("/usr/bin/python3", "-c", program)).stdout == "-1 Function not implemented\n"
    context = ctypes.c_ulong()
    number = IO_SETUP[os.uname().machine]
    assert ctypes.CDLL(None).syscall(number, 1, ctypes.byref(context)) == 0


async def test_a_sandbox_is_the_first_to_go_when_memory_is_short(cell: Cell) -> None:
    assert (await cell.sh("cat /proc/self/oom_score_adj")).stdout == "900\n"
    assert int(Path("/proc/self/oom_score_adj").read_text()) < 900


async def test_a_supervisor_that_hangs_does_not_stop_the_removal(
    block: Block, cell: Cell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloister.sandboxes.oci.containers.STOP_SECONDS", 0.1)
    await cell.start("echo; sleep 600")
    (pid,) = (int(file.read_text()) for file in block.backend._node.paths.runtime.glob("sandboxes/*/processes/*/pid"))
    os.kill(pid, 19)  # SIGSTOP
    try:
        await block.backend.destroy(SandboxName(cell.sandbox.name))
        assert await block.backend.list() == []
    finally:
        os.kill(pid, 18)  # SIGCONT


async def _commit_of_newlines(place: Path, size: int) -> None:
    for arguments in (["init", "--quiet", "--bare", str(place)], ["hash-object", "-w", "--stdin"]):
        output = await run_git(arguments, git_dir=place, stdin=b"\n" * size if "-w" in arguments else b"")
    tree = await run_git(["mktree"], git_dir=place, stdin=b"100644 blob %s\tfile\n" % output.stdout.strip())
    await run_git(["update-ref", "refs/tree", tree.stdout.decode().strip()], git_dir=place)


_EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
_COMPARE = ["diff-tree", "-r", "-M", "--numstat", "--patch", "--binary", _EMPTY_TREE, "refs/tree"]


async def test_a_large_file_of_newlines_costs_git_little(tmp_path: Path) -> None:
    """By lines it took 42 times its size; the twin is a file below the border, at the same limit."""
    await _commit_of_newlines(tmp_path / "large.git", 40_000_000)
    output = await run_git(_COMPARE, git_dir=tmp_path / "large.git", memory_bytes=256 * 1024**2)
    assert b"GIT binary patch" in output.stdout
    await _commit_of_newlines(tmp_path / "small.git", 8_000_000)
    with pytest.raises(RepositoryError, match="Out of memory"):
        await run_git(_COMPARE, git_dir=tmp_path / "small.git", memory_bytes=256 * 1024**2)


def test_a_deep_and_wide_tree_is_listed_without_starting_over_at_its_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before, 300,000 directories at a depth of 1,900 held the worker for half an hour."""
    depth, width = 300, 300
    _make_deep(tmp_path, depth, width)
    opened = 0

    def count(*arguments: object, **options: object) -> int:
        nonlocal opened
        opened += 1
        return _open(*arguments, **options)  # type: ignore[arg-type]

    _open = os.open
    monkeypatch.setattr(written.os, "open", count)  # type: ignore[attr-defined]
    found = list_written(tmp_path, "project")
    assert len(found) == 1 + depth + width
    assert opened < 4 * len(found)


def _make_deep(upper: Path, depth: int, width: int) -> None:
    here = Path.cwd()
    (upper / "workspace/project").mkdir(parents=True)
    os.chdir(upper / "workspace/project")
    try:
        for _ in range(depth):
            Path("a").mkdir()
            os.chdir("a")
        for number in range(width):
            Path(str(number)).mkdir()
    finally:
        os.chdir(here)


def test_decisions_of_the_proxy_slow_down_after_a_burst() -> None:
    pace = Pace(burst=3, per_second=2.0)
    assert [pace.take(100.0) for _ in range(5)] == [0.0, 0.0, 0.0, 0.5, 1.0]
    assert pace.take(200.0) == 0.0, "what was not used comes back"
    assert [pace.take(200.0) for _ in range(3)] == [0.0, 0.0, 0.5], "and no more than the burst"


def test_a_message_of_unfinished_control_strings_is_read_once() -> None:
    """A message may have 256 KiB; this one took minutes, because each string was looked for to the end of the line."""
    assert neutralize("\x1b]" * (128 * 1024) + "\nnext\x1b]0;title\x07") == "\nnext"
    assert re.sub(r"\x1b\].*?(?:\x07|$)", "", "\x1b]x\nnext") == "\x1b]x\nnext", "the twin: a newline ends no `.`"
