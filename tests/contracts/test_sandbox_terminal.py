"""What `Terminal` promises, of the scripted backend and of the real one."""

import anyio
import pytest

from cloister.errors import ConflictError, NotFoundError
from cloister.model.sandbox import EndCause, Exit, Stream
from cloister.model.secret import SecretValue
from cloister.protocols import Process, Terminal
from cloister.sandboxes.fake import Hold

from .rig import Rig, Script
from .test_sandbox_backend import out

HANGS = "trap 'echo hung up >/root/trace; exit' HUP; setsid sleep 1000 & echo up; while :; do sleep 0.02; done"


async def _open(rig: Rig, script: Script) -> tuple[Process, Terminal]:
    process = await rig.start(await rig.create(), script, id="shell", terminal=True)
    return process, await rig.backend.open_terminal(rig.name(), "shell")


async def _read_until(terminal: Terminal, wanted: bytes) -> bytes:
    read = b""
    with anyio.fail_after(10):
        while wanted not in read:
            data = await terminal.read()
            assert data, f"it ended, and said only {read!r}"
            read += data
    return read


async def _rest(terminal: Terminal) -> bytes:
    read = b""
    while data := await terminal.read():
        read += data
    return read


async def test_there_is_no_terminal_but_of_a_command_that_runs_with_one(rig: Rig) -> None:
    with pytest.raises(NotFoundError):
        await rig.backend.open_terminal(rig.name(), "shell")
    process = await rig.start(await rig.create(), Script(text="true"), id="shell", terminal=True)
    assert await process.wait() == Exit(status=0)
    with pytest.raises(NotFoundError):
        await rig.backend.open_terminal(rig.name(), "shell")
    process = await rig.start(await rig.create(), Script(text="sleep 1000", does=[Hold()]))
    with pytest.raises(NotFoundError):
        await rig.backend.open_terminal(rig.name(), "agent")
    await process.stop()


async def test_a_terminal_is_given_away_once(rig: Rig) -> None:
    # One that reads would end by itself, a moment before it is told that nobody is there any more.
    stays = Script(text="trap '' HUP; echo up; exec sleep 1000", does=[out(b"up\r\n"), Hold()])
    process, terminal = await _open(rig, stays)
    with pytest.raises(ConflictError):
        await rig.backend.open_terminal(rig.name(), "shell")
    assert b"up" in await _read_until(terminal, b"up")
    terminal.close()
    terminal.close()
    assert (await process.wait()).cause is EndCause.HUNG_UP


async def test_a_program_talks_with_its_user_and_knows_the_window(rig: Rig) -> None:
    text = 'echo up; read -r line; [ -t 0 ] && [ -t 1 ] && [ -t 2 ] && echo "<$line>"; stty size; exit 7'
    does = [out(b"up\r\n"), Hold(), out(b"<typed>\r\n33 101\r\n")]
    process, terminal = await _open(rig, Script(text=text, does=does, ends=Exit(status=7)))
    await _read_until(terminal, b"up")
    terminal.resize(101, 33)
    await terminal.write(b"typed\n")
    if rig.fake is not None:
        rig.fake.release(rig.name(), "shell")
    said = await _rest(terminal)
    terminal.close()
    assert b"<typed>\r\n33 101\r\n" in said
    assert await process.wait() == Exit(status=7)
    assert [chunk async for chunk in process.output()] == [], "what passes a terminal is not kept"


async def test_ctrl_c_reaches_the_program_in_front(rig: Rig) -> None:
    text = "trap 'echo caught; exit 5' INT; echo up; while :; do sleep 0.02; done"
    does = [out(b"up\r\n"), Hold(), out(b"caught\r\n")]
    process, terminal = await _open(rig, Script(text=text, does=does, ends=Exit(status=5)))
    await _read_until(terminal, b"up")
    await terminal.write(b"\x03")
    if rig.fake is not None:
        rig.fake.release(rig.name(), "shell")
    assert b"caught" in await _rest(terminal)
    terminal.close()
    assert await process.wait() == Exit(status=5)


async def test_whoever_closes_a_terminal_hangs_its_program_up(rig: Rig) -> None:
    process, terminal = await _open(rig, Script(text=HANGS, does=[out(b"up\r\n"), Hold()]))
    await _read_until(terminal, b"up")
    terminal.close()
    with anyio.fail_after(20):
        assert (await process.wait()).cause is EndCause.HUNG_UP
    look = Script(text="cat /root/trace", does=[out(b"hung up\n")])
    assert (await rig.run(await rig.create(), look))[1] == b"hung up\n"


async def test_a_program_that_will_not_hang_up_is_killed(rig: Rig) -> None:
    text = "trap '' HUP TERM; echo up; while :; do sleep 0.02; done"
    process, terminal = await _open(rig, Script(text=text, does=[out(b"up\r\n"), Hold()]))
    await _read_until(terminal, b"up")
    terminal.close()
    with anyio.fail_after(20):
        assert await process.wait() == Exit(status=137, cause=EndCause.HUNG_UP)


async def test_the_next_worker_learns_that_nobody_has_the_terminal_any_more(rig: Rig) -> None:
    script = Script(text=HANGS, does=[out(b"up\r\n"), Hold()])
    _, terminal = await _open(rig, script)
    await _read_until(terminal, b"up")
    await rig.reopen()
    terminal.close()
    process = await rig.start(await rig.create(), script, id="shell", terminal=True)
    with anyio.fail_after(20):
        assert (await process.wait()).cause is EndCause.HUNG_UP


async def test_a_stop_is_no_hanging_up(rig: Rig) -> None:
    process, terminal = await _open(rig, Script(text="echo up; sleep 1000", does=[out(b"up\r\n"), Hold()]))
    await _read_until(terminal, b"up")
    await process.stop()
    assert await _rest(terminal) == b""
    terminal.close()
    assert (await process.wait()).cause is EndCause.STOPPED


# People who enter


async def test_nobody_enters_where_no_agent_runs_that_lets_them_in(rig: Rig) -> None:
    with pytest.raises(NotFoundError):
        await rig.backend.enter(rig.name(), terminal="xterm")
    stays = Script(text="sleep 1000", does=[Hold()])
    sandbox = await rig.create()
    for id, fields in (
        ("shut", {}),
        ("secret", {"shell": ("/bin/bash",), "secrets": {"TOKEN": SecretValue("s3cret")}}),
    ):
        process = await rig.start(sandbox, stays, id=id, **fields)
        with pytest.raises(NotFoundError):
            await rig.backend.enter(rig.name(), terminal="xterm")
        await process.stop()
    process = await rig.start(sandbox, stays, shell=("/bin/bash",))
    await process.stop()
    with pytest.raises(NotFoundError):
        await rig.backend.enter(rig.name(), terminal="xterm")


async def test_a_person_enters_leaves_and_both_are_noted(oci_rig: Rig) -> None:
    sandbox = await oci_rig.create()
    process = await oci_rig.start(sandbox, Script(text="sleep 1000"), shell=("/bin/cat",))
    first = await oci_rig.backend.enter(oci_rig.name(), terminal="xterm")
    second = await oci_rig.backend.enter(oci_rig.name(), terminal="xterm")
    assert (first.number, second.number) == (1, 2)
    await first.write(b"typed\n\x04")
    assert b"typed\r\ntyped\r\n" in await _rest(first)
    assert first.status == 0
    first.close()
    await process.stop()
    assert await _rest(second) == b""
    assert second.status == 137
    second.close()
    notes = [chunk.data.split()[:2] async for chunk in process.output() if chunk.stream is Stream.NOTE]
    assert notes == [[b"entered", b"1"], [b"entered", b"2"], [b"left", b"1"], [b"left", b"2"]]
