"""S2: what the kernel and the supervisor hold a sandbox to, and that its neighbours do not feel it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from cloister.errors import TaskFailedError
from cloister.model.environment import Limits
from cloister.model.sandbox import EndCause, Exit

from ..system.leftovers import pids_of, times_throttled
from .cells import Block, Cell

MIB = 1024**2
SMALL = Limits(memory_bytes=128 * MIB, pids=64, cpu=1.0)


@asynccontextmanager
async def _unharmed_neighbour(block: Block) -> AsyncIterator[None]:
    """A program in a sandbox next door, which works on all the time; its memory and its processes are its own."""
    neighbour = await block.cell(limits=replace(SMALL, pids=16))
    process = await neighbour.start("echo ready; while :; do /bin/true || exit 1; done", timeout_seconds=300.0)
    yield
    assert pids_of(neighbour.sandbox.name)
    assert (await neighbour.sh("seq 3 | sort -r | head -1")).stdout == "3\n"
    await process.stop()
    assert (await process.wait()).cause is EndCause.STOPPED


async def test_a_fork_bomb_ends_at_the_limit_of_processes(block: Block) -> None:
    cell = await block.cell(limits=SMALL)
    async with _unharmed_neighbour(block):
        bomb = "bomb() { bomb | bomb & }; bomb; echo forked; sleep 600"
        process = await cell.start(f"{bomb}", timeout_seconds=5.0)
        running = len(pids_of(cell.sandbox.name))
        ended = await process.wait()
    assert 1 < running <= SMALL.pids
    assert ended.cause is EndCause.TIMED_OUT
    assert pids_of(cell.sandbox.name) == set()


CHILDREN = """
import os, signal, sys
try:
    for number in range(int(sys.argv[1])):
        if os.fork() == 0:
            signal.pause()
    print(number + 1)
except OSError as error:
    print(type(error).__name__)
"""


async def test_the_same_number_of_processes_fits_under_a_higher_limit(block: Block) -> None:
    """The twin: what fails at the limit is the limit."""
    argv = ("/usr/bin/python3", "-c", CHILDREN, "100")
    assert (await (await block.cell(limits=SMALL)).run(*argv)).stdout == "BlockingIOError\n"
    assert (await (await block.cell(limits=replace(SMALL, pids=256))).run(*argv)).stdout == "100\n"


BALLAST = "import sys; x = bytearray(int(sys.argv[1]) * 2**20); x[::4096] = b'x' * len(x[::4096]); print('held')"


async def test_a_memory_bomb_is_killed_and_said_to_be_one(block: Block) -> None:
    cell = await block.cell(limits=SMALL)
    async with _unharmed_neighbour(block):
        printed = await cell.run("/usr/bin/python3", "-c", BALLAST, "512")
    assert printed.exit.cause is EndCause.OUT_OF_MEMORY
    assert "held" not in printed.stdout


BURN = "import time\nwhile time.process_time() < 0.5: pass\nprint('burnt', flush=True)\ntime.sleep(600)"


@pytest.mark.parametrize(("processors", "held_back"), [(0.25, True), (2.0, False)])
async def test_a_program_gets_its_share_of_the_processors(block: Block, processors: float, held_back: bool) -> None:
    """And the twin: one thread cannot use up two processors."""
    cell = await block.cell(limits=replace(SMALL, cpu=processors))
    process = await cell.start(f'exec python3 -c "{BURN}"', timeout_seconds=300.0)
    async for chunk in process.output():
        assert chunk.data == b"burnt\n"
        break
    assert (times_throttled(cell.sandbox.name) > 0) is held_back
    await process.stop()


@pytest.mark.parametrize("place", ["/dev/shm", "/run"])
async def test_files_in_memory_count_as_memory(block: Block, place: str) -> None:
    cell = await block.cell(limits=SMALL)
    printed = await cell.sh(f"head -c 512M /dev/zero >{place}/x; echo $?; stat -c %s {place}/x")
    assert printed.exit.cause is EndCause.OUT_OF_MEMORY or int(printed.stdout.split()[-1]) <= SMALL.memory_bytes


async def test_a_little_memory_is_given(block: Block) -> None:
    """The twin."""
    cell = await block.cell(limits=SMALL)
    assert (await cell.run("/usr/bin/python3", "-c", BALLAST, "64")).stdout == "held\n"


async def test_a_flood_of_output_is_cut_at_the_limit(block: Block) -> None:
    cell = await block.cell()
    async with _unharmed_neighbour(block):
        printed = await cell.sh("yes | head -c 64M; echo never >&2", output_bytes=MIB)
    assert printed.exit.cause is EndCause.OUTPUT_LIMIT
    assert len(printed.stdout) + len(printed.stderr) == MIB
    assert "never" not in printed.stderr


async def test_output_below_the_limit_is_whole(block: Block) -> None:
    """The twin; and what is read in between does not matter."""
    printed = await (await block.cell()).sh("yes | head -c 64K; yes no | head -c 64K >&2", output_bytes=MIB)
    assert (len(printed.stdout), len(printed.stderr)) == (65536, 65536)
    assert printed.exit.cause is EndCause.EXITED


DAEMONS = {
    "double fork": "(setsid bash -c 'sleep 600 &' &)",
    "setsid nohup": "setsid nohup sleep 600 >/dev/null 2>&1 </dev/null & sleep 0",
    "holds the output": "sleep 600 & echo left",
    "ignores signals": "(trap '' TERM HUP INT; sleep 600) & sleep 0",
}


@pytest.mark.parametrize("name", DAEMONS)
async def test_a_daemon_dies_with_the_first_process(cell: Cell, name: str) -> None:
    printed = await cell.sh(f"{DAEMONS[name]}; ls -d /proc/[0-9]* | wc -l")
    assert printed.exit.status == 0
    assert int(printed.stdout.split()[-1]) > 3, "it lived"
    assert pids_of(cell.sandbox.name) == set()
    assert int((await cell.sh("ls -d /proc/[0-9]* | wc -l")).stdout) <= 5


async def test_the_wall_clock_ends_what_ignores_signals(cell: Cell) -> None:
    printed = await cell.sh("trap '' TERM INT HUP; echo on; while :; do sleep 1; done", timeout_seconds=1.0)
    assert (printed.exit.cause, printed.stdout) == (EndCause.TIMED_OUT, "on\n")
    assert pids_of(cell.sandbox.name) == set()


async def test_a_stopped_process_ends_at_its_deadline_too(cell: Cell) -> None:
    printed = await cell.sh("echo on; kill -STOP $$ $PPID; kill -STOP -1", timeout_seconds=1.0)
    assert printed.exit.cause is EndCause.TIMED_OUT


async def test_no_core_is_dumped(cell: Cell) -> None:
    """A core holds an environment; the host's pattern would even start a program of the host."""
    printed = await cell.sh("cd /tmp; ulimit -c unlimited; sh -c 'kill -SEGV $$'; ls")
    assert "core" not in printed.stdout
    assert "cannot modify limit" in printed.stderr


SMALL_DISK = replace(SMALL, disk_bytes=64 * MIB, inodes=2048)


@pytest.mark.parametrize(
    "fill",
    [
        "head -c 10G /dev/zero >/root/big",
        "head -c 10G /dev/zero >/tmp/big",
        "fallocate -l 10G /workspace/big",
        "cat /usr/bin/* /usr/lib/*/* >/var/big",
        "for place in /root /tmp /opt /var; do head -c 30M /dev/urandom >$place/big; done",
    ],
)
async def test_ten_gigabytes_end_at_the_limit_of_the_disk(block: Block, fill: str) -> None:
    cell = await block.cell(limits=SMALL_DISK)
    async with _unharmed_neighbour(block):
        printed = await cell.sh(f"{{ {fill}; }} 2>&1; du -scm /root /tmp /opt /var/big /workspace | tail -1; false")
    assert "No space left on device" in printed.stdout
    assert int(printed.stdout.split()[-2]) <= 64
    assert printed.exit.cause is EndCause.DISK_FULL


async def test_what_is_copied_up_to_be_changed_counts(block: Block) -> None:
    cell = await block.cell(limits=SMALL_DISK)
    printed = await cell.sh("find /usr -type f -exec touch -r /etc/passwd {} +; exit 1")
    assert "No space left on device" in printed.stderr
    assert printed.exit.cause in (EndCause.DISK_FULL, EndCause.NO_INODES)


MAKE_FILES = """
import os, sys
made = 0
try:
    for place in ("/root", "/tmp", "/opt", "/workspace"):
        for number in range(int(sys.argv[1])):
            os.mkdir(f"{place}/{number}") if number % 2 else open(f"{place}/{number}", "x").close()
            made += 1
except OSError as error:
    sys.exit(f"{made} {error.strerror}")
"""


async def test_an_inode_bomb_ends_at_the_limit(block: Block) -> None:
    """And the twin: as many files fit under a higher limit."""
    cell, twin = await block.cell(limits=SMALL_DISK), await block.cell(limits=replace(SMALL_DISK, inodes=8192))
    async with _unharmed_neighbour(block):
        bomb = await cell.run("/usr/bin/python3", "-c", MAKE_FILES, "1000")
        fitting = await twin.run("/usr/bin/python3", "-c", MAKE_FILES, "1000")
    made, _, said = bomb.stderr.strip().partition(" ")
    assert 1500 < int(made) < 2048
    assert said == "No space left on device"
    assert bomb.exit.cause is EndCause.NO_INODES
    assert fitting.exit == Exit(status=0), fitting


async def test_what_fits_is_written_and_then_the_rest_fails(block: Block) -> None:
    """The twin: the limit is what a larger disk would have taken; and a failure with room left is just one."""
    script = "head -c 100M /dev/urandom >/root/big; status=$?; stat -c %s /root/big; exit $status"
    larger = await (await block.cell(limits=replace(SMALL_DISK, disk_bytes=256 * MIB))).sh(script)
    assert (larger.exit.status, larger.stdout) == (0, f"{100 * MIB}\n")
    cell = await block.cell(limits=SMALL_DISK)
    assert (await cell.sh("head -c 40M /dev/urandom >/root/big; exit 3")).exit == Exit(status=3)
    tidied = await cell.sh("head -c 100M /dev/urandom >/root/more || { echo no room; rm /root/more; exit 5; }")
    assert tidied.exit == Exit(status=5, cause=EndCause.DISK_FULL)
    assert (await cell.sh("head -c 10M /dev/urandom >/root/more")).exit == Exit(status=0)
    assert (await cell.sh("head -c 100M /dev/urandom >/root/rest")).exit.cause is EndCause.DISK_FULL
    with pytest.raises(TaskFailedError, match=r"limits\.disk"):
        await cell.sh("true")
