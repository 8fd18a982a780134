"""What every `Egress` promises. What the real one lets out, and cuts, is in `tests/system/egress`."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace

import anyio
import pytest

from cloister.egress.fake import FakeEgress
from cloister.egress.process import EgressProcess
from cloister.errors import EgressError
from cloister.model.network import Decision, EgressRecord, NetworkMode, NetworkPolicy, RuleKind
from cloister.model.phase import Phase
from cloister.model.sandbox import SandboxName
from cloister.model.secret import Grant, SecretValue
from cloister.protocols import Egress, Listeners

ONE, TWO = SandboxName("t-1"), SandboxName("t-2")

OFF = NetworkPolicy(mode=NetworkMode.OFF, phase=Phase.OUTPUT, environment="web")
REFUSED = EgressRecord(
    sandbox=ONE,
    phase=Phase.OUTPUT,
    host="example.com",
    port=80,
    method="GET",
    decision=Decision(allowed=False, rule="output internet is off", kind=RuleKind.MODE),
)

VALUE = "a value that is the proxy's alone"
GRANT = Grant(
    name="TOKEN", value=SecretValue(VALUE), placeholder="cloister-placeholder-0123456789", hosts=("example.com",)
)

Address = tuple[str, int]


class Rig:
    """An egress, and a sandbox's way to ask it for `REFUSED`."""

    def __init__(self, egress: Egress) -> None:
        self.egress = egress

    async def open(
        self,
        name: SandboxName = ONE,
        policy: NetworkPolicy = OFF,
        report: Callable[[EgressRecord], None] = lambda _: None,
        grants: Sequence[Grant] = (),
    ) -> Address:
        """Open with a new listener, and return where it is. Nobody else holds the listener."""
        listener, address = _listen()
        await self.egress.open(name, Listeners((listener,)), policy, report, grants)
        return address

    async def knows(self, grant: Grant, address: Address) -> bool:
        """Whether the grant is in force: then its placeholder is known for what it is."""
        async with await anyio.connect_tcp(*address) as stream:
            head = f"GET http://example.com/ HTTP/1.1\r\nHost: example.com\r\nX: {grant.placeholder}\r\n\r\n"
            await stream.send(head.encode())
            answer = await stream.receive()
            assert answer.startswith(b"HTTP/1.1 403 ")
            assert VALUE.encode() not in answer
            return b"an attempt to leak the secret TOKEN" in answer

    async def ask(self, address: Address) -> None:
        """Ask for what the policy refuses."""
        async with await anyio.connect_tcp(*address) as stream:
            await stream.send(b"GET http://example.com/ HTTP/1.1\r\nHost: example.com\r\n\r\n")
            assert (await stream.receive()).startswith(b"HTTP/1.1 403 ")


class FakeRig(Rig):
    """The fake decides by script as it opens, and reads no request."""

    async def ask(self, address: Address) -> None:
        assert _is_listening(address)

    async def knows(self, grant: Grant, address: Address) -> bool:
        assert isinstance(self.egress, FakeEgress)
        return grant in self.egress.grants.get(ONE, ())


@asynccontextmanager
async def _process() -> AsyncIterator[Rig]:
    async with EgressProcess() as egress:
        yield Rig(egress)


@asynccontextmanager
async def _fake() -> AsyncIterator[Rig]:
    rig = FakeRig(FakeEgress({REFUSED.phase: [REFUSED]}))
    yield rig
    for name in (ONE, TWO):
        await rig.egress.close(name)


@pytest.fixture(params=[_process, _fake], ids=["process", "fake"])
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    opened: AbstractAsyncContextManager[Rig] = request.param()
    async with opened as rig:
        yield rig


def _listen() -> tuple[int, Address]:
    listener = socket.create_server(("127.0.0.1", 0))
    address: Address = listener.getsockname()
    return listener.detach(), address


def _is_listening(address: Address) -> bool:
    """Whether any copy of the listener is open, in whichever process."""
    try:
        # A queue that nobody takes from is full at some time, and connecting would wait for ever.
        socket.create_connection(address, timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True


async def _until_nobody_listens(address: Address) -> None:
    """Wait until a replaced listener is gone: `open` waits for the new ones only."""
    with anyio.fail_after(20):
        while _is_listening(address):  # noqa: ASYNC110 (the other process tells nobody)
            await anyio.sleep(0.01)


# Refusals


@pytest.mark.parametrize("domain", ["*.example.com", "com", "Example.com", "example.com:443"])
async def test_a_policy_that_cannot_be_one_is_refused_and_its_listeners_are_closed(rig: Rig, domain: str) -> None:
    listener, address = _listen()
    wrong = NetworkPolicy(mode=NetworkMode.LIMITED, phase=Phase.AGENT, environment="web", allow=(domain,))
    with pytest.raises(EgressError):
        await rig.egress.open(ONE, Listeners((listener,)), wrong, lambda _: None)
    assert not _is_listening(address)


async def test_a_refused_policy_opens_nothing(rig: Rig) -> None:
    wrong = NetworkPolicy(mode=NetworkMode.LIMITED, phase=Phase.AGENT, environment="web", allow=("com",))
    with pytest.raises(EgressError):
        await rig.open(policy=wrong)
    await rig.egress.close(ONE)
    await rig.ask(await rig.open())


async def test_closing_what_is_absent_is_harmless(rig: Rig) -> None:
    address = await rig.open(TWO)
    await rig.egress.close(ONE)
    await rig.ask(address)


async def test_closing_twice_is_harmless(rig: Rig) -> None:
    address = await rig.open()
    await rig.ask(address)
    await rig.egress.close(ONE)
    await rig.egress.close(ONE)
    assert not _is_listening(address)


# Listeners


async def test_close_closes_every_listener_it_took_over(rig: Rig) -> None:
    (one, first), (two, second) = _listen(), _listen()
    await rig.egress.open(ONE, Listeners((one, two)), OFF, lambda _: None)
    await rig.ask(first)
    await rig.ask(second)
    await rig.egress.close(ONE)
    assert not _is_listening(first) and not _is_listening(second)


async def test_open_replaces_what_was_open(rig: Rig) -> None:
    former = await rig.open()
    await rig.ask(former)
    latter = await rig.open()
    await _until_nobody_listens(former)
    await rig.ask(latter)
    await rig.egress.close(ONE)
    assert not _is_listening(latter)


async def test_what_was_closed_can_be_opened_again(rig: Rig) -> None:
    await rig.open()
    await rig.egress.close(ONE)
    await rig.ask(await rig.open())


async def test_two_sandboxes_do_not_touch_each_other(rig: Rig) -> None:
    one, two = await rig.open(ONE), await rig.open(TWO)
    await rig.ask(one)
    await rig.egress.close(ONE)
    assert not _is_listening(one)
    await rig.ask(two)


async def test_a_grant_is_in_force_until_the_next_open(rig: Rig) -> None:
    assert await rig.knows(GRANT, await rig.open(grants=[GRANT]))
    assert not await rig.knows(GRANT, await rig.open())


async def test_a_grant_is_one_sandboxs_alone(rig: Rig) -> None:
    await rig.open(TWO, grants=[GRANT])
    assert not await rig.knows(GRANT, await rig.open(ONE))


async def test_a_door_is_closed_with_the_other_listeners(rig: Rig) -> None:
    (proxy, _), (door, address) = _listen(), _listen()
    await rig.egress.open(ONE, Listeners((proxy,), doors={8001: (door,)}), OFF, lambda _: None)
    assert _is_listening(address)
    await rig.egress.close(ONE)
    assert not _is_listening(address)


# Decisions


async def test_a_decision_is_reported_in_our_event_loop(rig: Rig) -> None:
    loops: list[asyncio.AbstractEventLoop] = []
    heard: asyncio.Queue[EgressRecord] = asyncio.Queue()

    def report(record: EgressRecord) -> None:
        loops.append(asyncio.get_running_loop())
        heard.put_nowait(record)

    await rig.ask(await rig.open(report=report))
    await _expect_refusal(heard)
    assert loops == [asyncio.get_running_loop()]


async def test_each_open_has_a_report_of_its_own(rig: Rig) -> None:
    former: asyncio.Queue[EgressRecord] = asyncio.Queue()
    latter: asyncio.Queue[EgressRecord] = asyncio.Queue()
    await rig.ask(await rig.open(report=former.put_nowait))
    await _expect_refusal(former)
    await rig.ask(await rig.open(report=latter.put_nowait))
    await _expect_refusal(latter)
    assert former.empty()


async def test_a_sandbox_hears_only_of_its_own(rig: Rig) -> None:
    own: asyncio.Queue[EgressRecord] = asyncio.Queue()
    others: asyncio.Queue[EgressRecord] = asyncio.Queue()
    setup = NetworkPolicy(mode=NetworkMode.OFF, phase=Phase.SETUP, environment="web")
    await rig.open(TWO, setup, others.put_nowait)
    await rig.ask(await rig.open(ONE, report=own.put_nowait))
    await _expect_refusal(own)
    assert others.empty()


async def _expect_refusal(heard: "asyncio.Queue[EgressRecord]") -> None:
    with anyio.fail_after(20):
        assert replace(await heard.get(), flow=0, path="") == REFUSED
    assert heard.empty()
