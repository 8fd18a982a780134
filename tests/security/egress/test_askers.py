"""Who asked: programs in a real sandbox are named, in the refusal that they read and in what is kept."""

import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from cloister.egress.messages import EgressSettings
from cloister.egress.process import EgressProcess
from cloister.model.asker import Connection
from cloister.model.network import EgressEnd, EgressRecord, NetworkMode, NetworkPolicy
from cloister.model.phase import Phase
from cloister.model.sandbox import PROXY_PORT
from cloister.protocols import FindAsker
from cloister.sandboxes.oci.catch import is_caught
from cloister.sandboxes.oci.image import OciImageStore

from ...system.egress.conftest import authority, namespace, origins, servers, world
from ...system.egress.origin import Origin
from ...system.egress.world import World
from ..cells import Cell, opened_block

__all__ = ["authority", "namespace", "origins", "servers", "world"]

PROXY = f"http://127.0.0.1:{PROXY_PORT}"
ASK = f"""
import os, socket, sys
with socket.create_connection(("127.0.0.1", {PROXY_PORT})) as stream:
    stream.sendall(b"GET http://other.org/ HTTP/1.1\\r\\nHost: other.org\\r\\nConnection: close\\r\\n\\r\\n")
    print(os.getpid(), b"".join(iter(lambda: stream.recv(65536), b"")).decode(), flush=True)
"""


@pytest.fixture
async def cell(tmp_path: Path, images: OciImageStore) -> AsyncIterator[Cell]:
    async with opened_block(tmp_path, images, prefix=f"a{secrets.token_hex(4)}", runtime="auto") as block:
        yield await block.cell()


@asynccontextmanager
async def served(cell: Cell, world: World, find: FindAsker | None) -> AsyncIterator[list[EgressRecord]]:
    """Serve the sandbox; what is told of it is complete once the block is left."""
    records: list[EgressRecord] = []

    def hear(told: EgressRecord | EgressEnd) -> None:
        if isinstance(told, EgressRecord):
            records.append(told)

    policy = NetworkPolicy(mode=NetworkMode.LIMITED, phase=Phase.AGENT, environment="web", allow=("example.com",))
    async with AsyncExitStack() as stack:
        egress = await stack.enter_async_context(EgressProcess(EgressSettings(), command_prefix=world.command_prefix))
        await egress.open(cell.sandbox.name, cell.sandbox.listeners(), policy, hear, find_asker=find)
        stack.push_async_callback(egress.close, cell.sandbox.name)
        yield records


async def test_the_refusal_and_the_record_name_the_program(
    cell: Cell, world: World, origins: dict[str, Origin]
) -> None:
    curl = f"curl -sS -x {PROXY} http://other.org/a"
    async with served(cell, world, cell.sandbox.owner_of) as records:
        by_curl = await cell.sh(f"{curl}; true")
        by_python = await cell.run("/usr/bin/python3", "-c", ASK, "one two")
    assert f"Asked by `{curl}` (pid " in by_curl.stdout
    pid, answer = by_python.stdout.split(" ", 1)
    assert f"other.org')\" (pid {pid})" not in answer
    assert f"(pid {pid})." in answer and "Asked by `/usr/bin/python3 -c ?import os, socket, sys?with" in answer
    assert records[0].command == curl
    assert (records[1].command or "").startswith("/usr/bin/python3 -c ?import os, socket, sys?with")


async def test_without_a_search_nobody_is_named(cell: Cell, world: World, origins: dict[str, Origin]) -> None:
    """The twin: the names do not come from the sandbox."""
    async with served(cell, world, None) as records:
        printed = await cell.sh(f"curl -sS -x {PROXY} http://other.org/a")
    assert "Asked by" not in printed.stdout and "Cloister refused GET other.org:80" in printed.stdout
    assert records[0].command is None


async def test_what_is_let_out_is_named_too_and_each_program_behind_its_own_connection(
    cell: Cell, world: World, origins: dict[str, Origin]
) -> None:
    script = f"for n in 1 2 3 4 5 6; do curl -sS -x {PROXY} http://example.com/$n http://example.com/$n/b & done; wait"
    async with served(cell, world, cell.sandbox.owner_of) as records:
        await cell.sh(script)
    assert len(records) == 12 and all(record.decision.allowed for record in records)
    named = [record for record in records if record.command is not None]
    assert len(named) >= 6, "a program that has ended by then is not found"
    for record in named:
        assert f"http://example.com{record.path}".removesuffix("/b") in (record.command or "").split()


@pytest.mark.skipif(not is_caught(), reason="this host cannot lead connections to the proxy")
async def test_a_program_that_ignores_the_proxy_is_named(cell: Cell, world: World, origins: dict[str, Origin]) -> None:
    async with served(cell, world, cell.sandbox.owner_of) as records:
        printed = await cell.sh("curl -sS --noproxy '*' http://other.org/a; true")
    assert "Asked by `curl -sS --noproxy * http://other.org/a` (pid " in printed.stdout, printed
    assert records[-1].command == "curl -sS --noproxy * http://other.org/a"


async def test_a_daemon_that_left_its_parent_is_named(cell: Cell, world: World, origins: dict[str, Origin]) -> None:
    daemon = f"""
import os, time
read, write = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        {ASK.replace(chr(10), chr(10) + " " * 8)}
        os.write(write, b"x")
    os._exit(0)
os.wait()
os.read(read, 1)
"""
    async with served(cell, world, cell.sandbox.owner_of) as records:
        printed = await cell.run("/usr/bin/python3", "/cloister/in/daemon.py", files={"daemon.py": daemon})
    assert printed.exit.status == 0, printed.stderr
    pid = printed.stdout.split()[0]
    assert f"Asked by `/usr/bin/python3 /cloister/in/daemon.py` (pid {pid})." in printed.stdout
    assert records[0].command == "/usr/bin/python3 /cloister/in/daemon.py"


async def test_a_hostile_command_line_stays_one_printable_line(
    cell: Cell, world: World, origins: dict[str, Origin]
) -> None:
    hostile = "\n\x1b[2J\u202e\r\nHTTP/1.1 200 OK\r\n\r\n\udcff" + "x" * 5000
    async with served(cell, world, cell.sandbox.owner_of) as records:
        printed = await cell.run("/usr/bin/python3", "-c", "#\n" + ASK, hostile)
        shorter = await cell.run("/usr/bin/python3", "/cloister/in/a.py", hostile, files={"a.py": ASK})
    command = records[1].command or ""
    assert command.isprintable() and len(command) == 200
    assert command.startswith("/usr/bin/python3 /cloister/in/a.py ??[2J???HTTP/1.1 200 OK????")
    assert len(records[0].command or "") == 200
    for answer in (printed.stdout, shorter.stdout):
        assert answer.count("HTTP/1.1 ") <= 2 and answer.count("\r\n\r\n") == 1


async def test_who_is_gone_or_never_was_is_nobody(cell: Cell) -> None:
    await cell.start("echo; sleep 30")
    gone = Connection("127.0.0.1", 40000, "127.0.0.1", PROXY_PORT)
    assert await cell.sandbox.owner_of(gone) is None
    assert await cell.sandbox.owner_of(Connection("::1", 40000, "::1", PROXY_PORT)) is None


async def test_a_program_of_another_sandbox_is_not_found(
    tmp_path: Path, images: OciImageStore, world: World, origins: dict[str, Origin]
) -> None:
    async with opened_block(tmp_path, images, prefix=f"a{secrets.token_hex(4)}", runtime="auto") as block:
        one, two = await block.cell(), await block.cell()
        async with served(one, world, two.sandbox.owner_of):
            printed = await one.run("/usr/bin/python3", "-c", ASK)
    assert "Cloister refused" in printed.stdout and "Asked by" not in printed.stdout


async def test_a_sandbox_with_endless_files_is_not_searched_endlessly(
    cell: Cell, world: World, origins: dict[str, Origin]
) -> None:
    hoard = f"""
import os, resource, sys
count = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
for _ in range(count):
    os.dup(0)
{ASK}
"""
    async with served(cell, world, cell.sandbox.owner_of):
        few = await cell.run("/usr/bin/python3", "/cloister/in/hoard.py", "100", files={"hoard.py": hoard})
        many = await cell.run("/usr/bin/python3", "/cloister/in/hoard.py", "9000", files={"hoard.py": hoard})
    assert "Asked by" in few.stdout
    assert "Cloister refused" in many.stdout and "Asked by" not in many.stdout
