"""What every sandbox backend promises; see `protocols`.

Begun from the self-checks that inspect_ai ships for its sandbox providers.
"""

import json
import os
import shlex
import socket

import anyio
import pytest

from cloister.errors import ConflictError, NotFoundError, RepositoryError, TaskFailedError
from cloister.model.asker import Connection
from cloister.model.environment import Limits
from cloister.model.sandbox import PROXY_PORT, Checkout, Commit, DiffStats, EndCause, Exit, ImageDigest, Stream
from cloister.model.secret import SecretValue
from cloister.model.snapshot import SnapshotKey
from cloister.sandboxes.fake import Append, Hold, Print
from cloister.sandboxes.oci.sandbox import OciSandbox

from .rig import Rig, Script

KEY = SnapshotKey("5" * 64)
SUCCESS = Exit(status=0)
STOPPED = (EndCause.STOPPED, True)
WAIT = "until [ -e /root/go ]; do sleep 0.02; done; "
MIB = 1024 * 1024


def out(data: bytes) -> Print:
    return Print(data=data)


def err(data: bytes) -> Print:
    return Print(data=data, stream=Stream.STDERR)


# Refusals


async def test_a_sandbox_of_an_unknown_image_is_refused_and_leaves_nothing(rig: Rig) -> None:
    rig.image = ImageDigest("0" * 64)
    with pytest.raises(NotFoundError):
        await rig.create()
    await rig.backend.destroy(rig.name())
    assert await rig.backend.list() == []


async def test_a_sandbox_of_an_unknown_snapshot_is_refused(rig: Rig) -> None:
    with pytest.raises(NotFoundError):
        await rig.create(snapshot=KEY)


async def test_a_sandbox_beside_one_that_is_not_there_is_refused(rig: Rig) -> None:
    with pytest.raises(NotFoundError):
        await rig.create(beside="nobody")


async def test_a_snapshot_that_a_sandbox_stands_on_is_not_removed(rig: Rig) -> None:
    sandbox = await rig.create()
    await sandbox.checkout(rig.checkout())
    await sandbox.snapshot(KEY)
    with pytest.raises(ConflictError):
        await rig.backend.remove_snapshot(KEY)
    assert await rig.backend.has_snapshot(KEY)


async def test_a_checkout_of_an_unknown_commit_is_refused(rig: Rig) -> None:
    unknown = Commit("f" * 40)
    rig.faults[f"checkout cloister/t1 at {unknown}"] = RepositoryError("no such commit")
    sandbox = await rig.create()
    with pytest.raises(RepositoryError):
        await sandbox.checkout(Checkout(commit=unknown, branch="cloister/t1", origin="https://example.com/shop.git"))


async def test_a_patch_that_does_not_apply_is_the_tasks_doing(rig: Rig) -> None:
    patch = b"--- a/README\n+++ b/README\n@@ -1 +1 @@\n-goodbye\n+hello\n"
    rig.faults[f"checkout cloister/t1 at {rig.main} with a patch"] = TaskFailedError("it does not apply")
    sandbox = await rig.create()
    with pytest.raises(TaskFailedError):
        await sandbox.checkout(rig.checkout(patch=patch))


# One program: what it is given, and what comes back


async def test_status_and_both_streams_come_back(rig: Rig) -> None:
    script = Script(text="echo out; echo err >&2; exit 3", does=[out(b"out\n"), err(b"err\n")], ends=Exit(status=3))
    assert await rig.run(await rig.create(), script) == (Exit(status=3), b"out\n", b"err\n")


async def test_a_signal_shows_in_the_status(rig: Rig) -> None:
    script = Script(text="kill -USR1 $$", ends=Exit(status=138))
    assert (await rig.run(await rig.create(), script))[0] == Exit(status=138)


async def test_an_unknown_program_is_an_answer_that_says_so(rig: Rig) -> None:
    script = Script(text="", does=[err(b"no-such-program: not found\n")], ends=Exit(status=127))
    ended, _, stderr = await rig.run(await rig.create(), script, argv=("no-such-program",))
    assert ended.cause is EndCause.EXITED
    assert ended.status != 0
    assert stderr


async def test_a_program_is_given_variables_secrets_directory_and_nothing_else(rig: Rig) -> None:
    given = {"PATH": "/usr/bin:/bin", "EMPTY": "", "TEXT": "ä $HOME `x` 'y'\n\"z\""}
    expected = {**given, "TOKEN": "s3cret-value", "PWD": "/usr/share"}
    report = "import json, os; print(json.dumps({**os.environ, 'PWD': os.getcwd()}))"
    script = Script(text="", does=[out(json.dumps(expected).encode())])
    _, stdout, _ = await rig.run(
        await rig.create(),
        script,
        argv=("/usr/bin/python3", "-I", "-c", report),
        variables=given,
        secrets={"TOKEN": SecretValue("s3cret-value")},
        cwd="/usr/share",
    )
    assert json.loads(stdout).items() >= expected.items()
    assert json.loads(stdout).keys() - expected.keys() <= {"HOME", "HOSTNAME", "LC_CTYPE", "container"}


@pytest.mark.parametrize("text", ["; exit 9", "$(exit 9)", "`id`", "a\nb", "'", '"', "\\", "*", "-e", "", "ä"])
async def test_an_argument_is_one_argument_whatever_a_shell_would_make_of_it(rig: Rig, text: str) -> None:
    script = Script(text="", does=[out(f"{text}|".encode())])
    _, stdout, _ = await rig.run(await rig.create(), script, argv=("/usr/bin/printf", "%s|", text))
    assert stdout == f"{text}|".encode()


@pytest.mark.parametrize("data", [b"", b"no newline", "wörld\n".encode(), bytes(range(256))])
async def test_standard_input_and_output_carry_any_bytes(rig: Rig, data: bytes) -> None:
    script = Script(text="cat", does=[out(data)])
    assert await rig.run(await rig.create(), script, stdin=data) == (SUCCESS, data, b"")


async def test_a_large_standard_input_is_read_to_its_end(rig: Rig) -> None:
    script = Script(text="wc -c", does=[out(b"20971520\n")])
    assert (await rig.run(await rig.create(), script, stdin=b"x" * 20 * MIB))[1] == b"20971520\n"


async def test_a_program_that_reads_no_input_ends_all_the_same(rig: Rig) -> None:
    assert (await rig.run(await rig.create(), Script(text="true"), stdin=b"x" * 5 * MIB))[0] == SUCCESS


async def test_files_are_seen_and_cannot_be_written(rig: Rig) -> None:
    text = "cat /cloister/in/note; (echo x > /cloister/in/note) 2>/dev/null || echo refused"
    script = Script(text=text, does=[out(b"a note\nrefused\n")])
    assert (await rig.run(await rig.create(), script, files={"note": b"a note\n"}))[1] == b"a note\nrefused\n"


# Output


async def test_output_up_to_the_limit_is_whole(rig: Rig) -> None:
    script = Script(text="head -c 52428800 /dev/zero", does=[out(bytes(50 * MIB))])
    ended, stdout, _ = await rig.run(await rig.create(), script, output_bytes=50 * MIB)
    assert (ended, len(stdout)) == (SUCCESS, 50 * MIB)


async def test_more_output_than_the_limit_ends_the_program(rig: Rig) -> None:
    script = Script(text="yes", does=[out(b"y\n" * MIB)])
    ended, stdout, _ = await rig.run(await rig.create(), script, output_bytes=1000)
    assert (ended.cause, stdout) == (EndCause.OUTPUT_LIMIT, b"y\n" * 500)


async def test_the_limit_counts_both_streams(rig: Rig) -> None:
    script = Script(text="yes | tee /dev/stderr", does=[out(b"y\n" * 400), err(b"y\n" * 400)])
    ended, stdout, stderr = await rig.run(await rig.create(), script, output_bytes=1000)
    assert (ended.cause, len(stdout) + len(stderr)) == (EndCause.OUTPUT_LIMIT, 1000)


async def test_output_can_be_read_from_any_chunks_end(rig: Rig) -> None:
    script = Script(
        text="echo one; sleep 0.1; echo two >&2; sleep 0.1; echo three", does=[out(b"one\n"), err(b"two\n")]
    )
    process = await rig.start(await rig.create(), script)
    chunks = [chunk async for chunk in process.output()]
    for number, chunk in enumerate(chunks):
        assert [later async for later in process.output(chunk.end)] == chunks[number + 1 :]


async def test_output_is_read_while_the_program_runs_by_several(rig: Rig) -> None:
    sandbox = await rig.create()
    script = Script(text=f"echo one; {WAIT} echo two", does=[out(b"one\n"), Hold(), out(b"two\n")])
    process = await rig.start(sandbox, script)
    read: list[bytes] = []

    async def reader() -> None:
        read.append(b"".join([chunk.data async for chunk in process.output()]))

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(reader)
        async for chunk in process.output():
            assert chunk.data == b"one\n"
            break
        assert read == []
        await rig.release(sandbox)
    assert read == [b"one\ntwo\n"] * 3


async def test_the_end_can_be_waited_for_many_times(rig: Rig) -> None:
    process = await rig.start(await rig.create(), Script(text="exit 5", ends=Exit(status=5)))
    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(process.wait)
    assert await process.wait() == Exit(status=5)


# Ends


async def test_the_time_limit_kills_children_too(rig: Rig) -> None:
    text = "(trap '' TERM HUP; setsid sleep 1000) & setsid nohup sleep 1000 & echo up; wait"
    script = Script(text=text, does=[out(b"up\n")], ends=Exit(status=137, cause=EndCause.TIMED_OUT))
    ended, stdout, _ = await rig.run(await rig.create(), script, timeout_seconds=0.7)
    assert (ended, stdout) == (Exit(status=137, cause=EndCause.TIMED_OUT), b"up\n")
    assert rig.fake is not None or ended.running[1:] == ("sleep 1000",) * 2, "and it is told what ran besides the shell"


async def test_a_daemon_is_dead_when_its_container_has_ended(rig: Rig) -> None:
    sandbox = await rig.create()
    daemon = "(setsid nohup sh -c 'while :; do date +%N > /root/alive; sleep 0.01; done' >/dev/null 2>&1 &) "
    await rig.run(sandbox, Script(text=daemon + "; until [ -s /root/alive ]; do sleep 0.01; done"), id="setup")
    look = (
        "cat /root/alive > /root/before; sleep 0.3; cmp -s /root/alive /root/before && echo dead; pgrep -x sh || true"
    )
    assert await rig.run(sandbox, Script(text=look, does=[out(b"dead\n")])) == (SUCCESS, b"dead\n", b"")


@pytest.mark.parametrize("grace", [0.0, 20.0])
async def test_a_program_can_be_stopped_twice(rig: Rig, grace: float) -> None:
    script = Script(text="echo up; exec sleep 1000", does=[out(b"up\n"), Hold()])
    process = await rig.start(await rig.create(), script)
    async for _ in process.output():
        break
    await process.stop(grace)
    await process.stop(grace)
    ended = await process.wait()
    assert (ended.cause, ended.status != 0) == STOPPED


async def test_a_program_may_use_its_grace(rig: Rig) -> None:
    text = "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.01; done"
    process = await rig.start(await rig.create(), Script(text=text, does=[out(b"up\n"), Hold()]))
    async for _ in process.output():
        break
    await process.stop(20.0)
    assert (await process.wait()).cause is EndCause.STOPPED
    if rig.fake is None:
        said = [chunk.data async for chunk in process.output() if chunk.stream is Stream.STDOUT]
        assert b"".join(said) == b"up\nbye\n"


async def test_what_a_program_started_has_its_grace_too(oci_rig: Rig) -> None:
    child = "trap 'sleep 0.2; echo child ends; exit 0' TERM; echo up; while :; do sleep 0.01; done"
    sandbox = await oci_rig.create()
    process = await oci_rig.start(sandbox, Script(text=f"bash -c {shlex.quote(child)}; echo and then the shell"))
    async for _ in process.output():
        break
    await process.stop(20.0)
    assert (await process.wait()).cause is EndCause.STOPPED
    said = b"".join([chunk.data async for chunk in process.output()])
    assert b"child ends\n" in said, "a shell that is told at once takes everything with it"


async def test_a_program_that_will_not_end_is_killed_after_its_grace(rig: Rig) -> None:
    text = "trap '' TERM; echo up; while :; do sleep 0.01; done"
    process = await rig.start(await rig.create(), Script(text=text, does=[out(b"up\n"), Hold()]))
    async for _ in process.output():
        break
    await process.stop(0.2)
    assert await process.wait() == Exit(status=137, cause=EndCause.STOPPED)


async def test_a_program_that_has_ended_keeps_its_end_when_it_is_stopped(rig: Rig) -> None:
    process = await rig.start(await rig.create(), Script(text="exit 4", ends=Exit(status=4)))
    await process.wait()
    await process.stop()
    assert await process.wait() == Exit(status=4)


async def test_too_much_memory_is_told_apart(rig: Rig) -> None:
    script = Script(
        text="exec python3 -c 'b = bytearray(2 ** 30); print(len(b))'",
        ends=Exit(status=137, cause=EndCause.OUT_OF_MEMORY),
    )
    sandbox = await rig.create(limits=Limits(memory_bytes=64 * MIB))
    assert (await rig.run(sandbox, script))[0] == Exit(status=137, cause=EndCause.OUT_OF_MEMORY)


# Containers and the disk


async def test_starting_an_id_again_attaches(rig: Rig) -> None:
    sandbox = await rig.create()
    script = Script(
        text=f"echo $$ >> /root/starts; echo up; {WAIT} exit 6", does=[out(b"up\n"), Hold()], ends=Exit(status=6)
    )
    assert not sandbox.has_started("agent")
    first = await rig.start(sandbox, script)
    assert sandbox.has_started("agent")
    second = await rig.start(sandbox, script)
    await rig.release(sandbox)
    assert (await first.wait(), await second.wait()) == (Exit(status=6), Exit(status=6))
    third = await rig.start(sandbox, script)
    assert [chunk.data async for chunk in third.output()] == [b"up\n"]
    counted = await rig.run(sandbox, Script(text="wc -l < /root/starts", does=[out(b"1\n")]), id="count")
    assert counted[1] == b"1\n"


async def test_the_next_worker_goes_on_where_the_last_one_was(rig: Rig) -> None:
    sandbox = await rig.create()
    script = Script(
        text=f"echo one; {WAIT} echo two; exit 7", does=[out(b"one\n"), Hold(), out(b"two\n")], ends=Exit(status=7)
    )
    process = await rig.start(sandbox, script)
    chunk = await anext(process.output())
    await rig.reopen()
    sandbox = await rig.create()
    assert sandbox.has_started("agent")
    await rig.release(sandbox)
    process = await rig.start(sandbox, script)
    assert b"".join([later.data async for later in process.output(chunk.end)]) == b"two\n"
    assert await process.wait() == Exit(status=7)


async def test_nothing_survives_but_the_disk(rig: Rig) -> None:
    sandbox = await rig.create()
    leave = "echo kept > /root/kept; echo lost > /tmp/lost; echo lost > /dev/shm/lost; hostname lost 2>/dev/null; true"
    await rig.run(sandbox, Script(text=leave), id="setup")
    look = Script(text="cat /root/kept; ls /tmp /dev/shm | grep lost; true", does=[out(b"kept\n")])
    assert (await rig.run(sandbox, look))[1] == b"kept\n"


async def test_a_found_sandbox_keeps_its_disk_and_a_destroyed_one_does_not(rig: Rig) -> None:
    await rig.run(await rig.create(), Script(text="echo kept > /root/kept"), id="setup")
    look = Script(text="cat /root/kept", does=[out(b"kept\n")])
    assert (await rig.run(await rig.create(), look))[1] == b"kept\n"
    await rig.backend.destroy(rig.name())
    gone = Script(text="cat /root/kept 2>/dev/null || echo gone", does=[out(b"gone\n")])
    assert (await rig.run(await rig.create(), gone))[1] == b"gone\n"


async def test_destroy_kills_and_is_harmless_twice(rig: Rig) -> None:
    sandbox = await rig.create()
    process = await rig.start(sandbox, Script(text="echo up; exec sleep 1000", does=[out(b"up\n"), Hold()]))
    async for _ in process.output():
        break
    assert await rig.backend.list() == [rig.name()]
    await rig.backend.destroy(rig.name())
    await rig.backend.destroy(rig.name())
    await rig.backend.destroy(rig.name("never-made"))
    assert await rig.backend.list() == []


async def test_sandboxes_do_not_see_each_other(rig: Rig) -> None:
    one, other = await rig.create("one"), await rig.create("other")
    await rig.run(one, Script(text="echo mine > /root/mine"), id="setup")
    look = Script(text="ls /root/mine 2>/dev/null || echo nothing", does=[out(b"nothing\n")])
    assert (await rig.run(other, look))[1] == b"nothing\n"
    assert await rig.backend.list() == [rig.name("one"), rig.name("other")]


async def test_listeners_are_new_duplicates_each_time(rig: Rig) -> None:
    sandbox = await rig.create()
    first, second = sandbox.listeners().proxy, sandbox.listeners().proxy
    assert first
    assert len({*first, *second}) == 2 * len(first)
    for descriptor in (*first, *second):
        os.close(descriptor)


async def test_nobody_holds_a_connection_that_is_not_there(rig: Rig) -> None:
    sandbox = await rig.create()
    assert await sandbox.owner_of(Connection("127.0.0.1", 40000, "127.0.0.1", PROXY_PORT)) is None
    await rig.backend.destroy(rig.name())
    assert await sandbox.owner_of(Connection("::1", 40000, "::1", PROXY_PORT)) is None


async def test_a_door_can_be_had_at_every_phase_border(rig: Rig) -> None:
    sandbox = await rig.create()
    first, second = sandbox.listeners((8001,)).doors[8001], sandbox.listeners((8001,)).doors[8001]
    assert first
    assert len({*first, *second}) == 2 * len(first)
    for descriptor in (*first, *second):
        os.close(descriptor)


CALLS = """
import socket
with socket.create_connection(("127.0.0.1", {port})) as served:
    print("connected", flush=True)
    print(served.recv(10), flush=True)
"""


@pytest.mark.parametrize("port", [PROXY_PORT, 8001])
async def test_who_connects_while_no_worker_lives_waits_for_the_next(oci_rig: Rig, port: int) -> None:
    """A real agent tries again a few times within seconds; a refused connection would use these trials up."""
    sandbox = await oci_rig.create()
    for listener in sandbox.listeners((8001,)).descriptors():
        os.close(listener)
    gate = "import os, time\nwhile not os.path.exists('/root/go'):\n    time.sleep(0.02)\n"
    caller = Script(text="")
    argv = ("/usr/bin/python3", "-c", gate + CALLS.format(port=port))
    await oci_rig.start(sandbox, caller, argv=argv)
    assert isinstance(sandbox, OciSandbox)
    place = sandbox.root
    await oci_rig.close()
    (place / "root/go").touch()
    output = b""
    await oci_rig.reopen()
    process = await oci_rig.start(again := await oci_rig.create(), caller, argv=argv)
    async for chunk in process.output():
        output += chunk.data
        if output == b"connected\n":
            listeners = again.listeners((8001,))
            [accepting, _] = listeners.proxy if port == PROXY_PORT else listeners.doors[port]
            with socket.socket(fileno=accepting) as listener:
                served, _ = listener.accept()
            with served:
                served.send(b"late")
    assert (await process.wait(), output) == (SUCCESS, b"connected\nb'late'\n")


async def test_who_waits_for_somebody_outside_is_not_stuck(rig: Rig) -> None:
    script = Script(text="sleep 1000", does=[Hold()], ends=Exit(status=137, cause=EndCause.STUCK))
    process = await rig.start(await rig.create(), script, stuck_seconds=0.2, timeout_seconds=60.0)
    with process.awake():
        with anyio.move_on_after(1.0) as waited:
            await process.wait()
        assert waited.cancelled_caught, "it runs on, five times as long as it could otherwise"
    if rig.fake is not None:
        rig.fake.release(rig.name(), "agent")
    with anyio.fail_after(20):
        assert (await process.wait()).cause is EndCause.STUCK


async def test_the_size_of_a_kept_disk_is_counted_and_that_of_none_is_not(rig: Rig) -> None:
    assert await rig.backend.size_of_snapshot(KEY) is None
    sandbox = await rig.create()
    await sandbox.checkout(rig.checkout())
    await rig.run(sandbox, Script(text="head -c 5000000 /dev/urandom >/root/5; ln /root/5 /root/same"))
    await sandbox.checkout(rig.checkout())
    await sandbox.snapshot(KEY)
    if rig.fake is not None:
        rig.fake.sizes[KEY] = 5_100_000
    with anyio.fail_after(10):
        while (size := await rig.backend.size_of_snapshot(KEY)) is None:  # noqa: ASYNC110
            await anyio.sleep(0.01)
    assert 5_000_000 < size < 7_000_000


async def test_a_kept_disk_gets_a_digest_and_is_found_as_it_was(rig: Rig) -> None:
    assert await rig.backend.digest_of_snapshot(KEY) is None
    with pytest.raises(NotFoundError):
        await rig.backend.check_snapshot(KEY)
    sandbox = await rig.create()
    await sandbox.checkout(rig.checkout())
    await sandbox.snapshot(KEY)
    if rig.fake is not None:
        rig.fake.digests[KEY] = "d" * 64
    with anyio.fail_after(20):
        while (digest := await rig.backend.digest_of_snapshot(KEY)) is None:  # noqa: ASYNC110
            await anyio.sleep(0.01)
    (disk,) = await rig.backend.check_snapshot(KEY)
    assert (disk.key, disk.kept, disk.found, disk.changed) == (KEY, digest, digest, False)


# Who makes a disk


async def test_a_disk_that_is_being_made_is_nobody_elses_to_make(rig: Rig) -> None:
    claim = await rig.backend.claim_build(KEY, wait=False)
    assert claim is not None
    with claim:
        assert await rig.backend.claim_build(KEY, wait=False) is None
        other = await rig.backend.claim_build(SnapshotKey("6" * 64), wait=False)
        assert other is not None
        with other:
            pass
    again = await rig.backend.claim_build(KEY, wait=True)
    assert again is not None
    with again:
        pass


async def test_those_who_wait_for_a_disk_make_it_one_after_the_other(rig: Rig) -> None:
    made: list[str] = []

    async def make() -> None:
        claim = await rig.backend.claim_build(KEY, wait=True)
        assert claim is not None
        with claim:
            made.append("begun")
            await anyio.sleep(0.01)
            made.append("ended")

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(make)
    assert made == ["begun", "ended"] * 3


async def test_one_who_waits_for_a_disk_can_be_cancelled_and_leaves_nothing(rig: Rig) -> None:
    claim = await rig.backend.claim_build(KEY, wait=False)
    assert claim is not None
    with claim, anyio.move_on_after(0.1) as waiting:
        await rig.backend.claim_build(KEY, wait=True)
    assert waiting.cancelled_caught
    again = await rig.backend.claim_build(KEY, wait=False)
    assert again is not None
    with again:
        pass


# Files that a program leaves


@pytest.mark.parametrize(
    "make",
    [
        "ln -s /etc/passwd /cloister/out/message.md",
        "rm -rf /cloister/out && ln -s /etc /cloister/out",
        "mkfifo /cloister/out/message.md",
        "mkdir /cloister/out/message.md",
        "true",
    ],
)
async def test_only_a_regular_file_is_read(rig: Rig, make: str) -> None:
    sandbox = await rig.create()
    await rig.run(sandbox, Script(text=make))
    with anyio.fail_after(10):
        assert await sandbox.read_file("/cloister/out/message.md", limit_bytes=100) is None


async def test_a_file_is_read_up_to_the_limit(rig: Rig) -> None:
    sandbox = await rig.create()
    path = "/cloister/out/message.md"
    await rig.run(sandbox, Script(text=f"printf 0123456789 > {path}", leaves={path: b"0123456789"}))
    assert await sandbox.read_file(path, limit_bytes=4) == b"0123"
    assert await sandbox.read_file(path, limit_bytes=100) == b"0123456789"


LOG = "/cloister/out/services/db.log"


@pytest.mark.parametrize(
    "make",
    [
        f"mkdir -p /cloister/out/services; ln -s /etc/passwd {LOG}",
        "ln -s /etc /cloister/out/services; cp /etc/passwd /etc/db.log",
        f"mkdir -p /cloister/out/services; mkfifo {LOG}",
        f"mkdir -p {LOG}",
        "true",
    ],
)
async def test_only_a_regular_file_is_followed(rig: Rig, make: str) -> None:
    sandbox, over = await rig.create(), anyio.Event()
    await rig.run(sandbox, Script(text=make))
    over.set()
    with anyio.fail_after(10):
        assert [data async for data in sandbox.tail(LOG, over, limit_bytes=100)] == []


async def test_a_file_is_followed_while_it_grows_up_to_the_limit(rig: Rig) -> None:
    sandbox, over = await rig.create(), anyio.Event()
    text = f"mkdir -p /cloister/out/services; printf one > {LOG}; {WAIT} printf twothree >> {LOG}"
    does = [Append(path=LOG, data=b"one"), Hold(), Append(path=LOG, data=b"twothree")]
    process = await rig.start(sandbox, Script(text=text, does=does))
    seen = b""
    with anyio.fail_after(20):
        async for data in sandbox.tail(LOG, over, limit_bytes=6):
            seen += data
            if seen == b"one":
                await rig.release(sandbox)
                await process.wait()
                over.set()
    assert seen == b"onetwo"


async def test_a_followed_file_that_is_replaced_or_cut_breaks_nothing(oci_rig: Rig) -> None:
    sandbox, over = await oci_rig.create(), anyio.Event()
    first = f"mkdir -p /cloister/out/services; echo 0123456789 > {LOG}"
    cut = f": > {LOG}; rm {LOG}; ln -s /etc/passwd {LOG}"
    again = f"rm {LOG}; echo 0123456789 and more > {LOG}"
    seen, steps = b"", iter((cut, again))
    await oci_rig.run(sandbox, Script(text=first))
    with anyio.fail_after(20):
        async for data in sandbox.tail(LOG, over, limit_bytes=1000):
            seen += data
            for number, step in enumerate(steps):
                await oci_rig.run(sandbox, Script(text=step), id=f"step{number}")
            over.set()
    assert seen == b"0123456789\nand more\n", "read on where it was"


# A sandbox beside another one


async def test_it_starts_where_the_other_was_at_its_last_checkout(rig: Rig) -> None:
    one = await rig.create()
    await one.checkout(rig.checkout())
    before = Script(text="echo before >/opt/before", writes={"/opt/before": b"before\n"})
    assert (await rig.run(one, before, id="setup"))[0] == SUCCESS
    await one.checkout(rig.checkout())
    after = Script(text="echo after >/opt/after; echo changed >README", writes={"/opt/after": b"after\n"})
    assert (await rig.run(one, after, cwd="/workspace/shop"))[0] == SUCCESS
    two = await rig.create("two", beside="one")
    await two.checkout(rig.checkout())
    look = Script(text="cat /opt/before; ls --ignore=cloister /opt; cat README", does=[out(b"before\nbefore\nhello\n")])
    assert (await rig.run(two, look, id="check", cwd="/workspace/shop"))[1] == b"before\nbefore\nhello\n"
    await rig.backend.destroy(rig.name("two"))
    assert rig.name() in await rig.backend.list(), "the other one is left alone"


async def test_what_no_change_holds_is_listed(rig: Rig) -> None:
    sandbox = await rig.create()
    await sandbox.checkout(rig.checkout())
    rig.will_change(b"diff --git a/README b/README\n", DiffStats(files=1, added=1, removed=1))
    text = "echo x >>README; echo x >/opt/stub; mkdir -p /root/.cache/y; touch /root/.cache/y/z /tmp/t"
    assert (await rig.run(sandbox, Script(text=text, writes={"/opt/stub": b"x\n"}), cwd="/workspace/shop"))[
        0
    ] == SUCCESS
    assert await sandbox.left_behind(await sandbox.changes(rig.main)) == ["/opt/stub"]
