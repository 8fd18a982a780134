"""Calls of a model: through the door of a sandbox, which adds the key and counts, and by a client that has the key."""

import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

from intercepted import ADDRESS, HOST, PORT, make_certificate
from measure import REPOSITORY, Bar, Report, Samples, publish
from world import World, open_world

from cloister.egress.messages import EgressSettings
from cloister.egress.process import EgressProcess
from cloister.model.model_access import MODEL_PORT, ModelApi
from cloister.model.model_door import ModelCall, ModelDoor
from cloister.model.network import EgressTold, NetworkMode, NetworkPolicy
from cloister.model.phase import Phase
from cloister.model.sandbox import SandboxName
from cloister.model.secret import Grant, SecretValue
from cloister.protocols import Listeners

ROUNDS, CALLS = 21, 40
_LOAD = REPOSITORY / "benchmarks" / "model_load.py"
_FIRST, _WHOLE = "until the first event", "until the end"
_DOOR, _DIRECT = "cloister", "direct"


@contextmanager
def open_provider(world: World, certificate: Path) -> Iterator[None]:
    """Run the origin."""
    command = (*world.command_prefix, sys.executable, str(_LOAD), "origin", ADDRESS, str(PORT), str(certificate))
    with subprocess.Popen(command, stdout=subprocess.PIPE) as origin:
        assert origin.stdout is not None
        try:
            origin.stdout.readline()
            yield
        finally:
            origin.terminate()


@asynccontextmanager
async def open_door(world: World, vouching: str) -> AsyncIterator[list[ModelCall]]:
    """Start our egress process as a worker does, with one sandbox without internet; yield what is told of calls."""
    calls: list[ModelCall] = []

    def hear(told: EgressTold) -> None:
        if isinstance(told, ModelCall):
            calls.append(told)

    settings = EgressSettings(authorities=vouching, decisions_at_once=1_000_000, decisions_per_second=1_000_000.0)
    policy = NetworkPolicy(mode=NetworkMode.OFF, phase=Phase.AGENT, environment="bench")
    grant = Grant(
        name="bench",
        value=SecretValue("sk-0123456789-0123456789"),
        placeholder="cloister-placeholder-00112233445566778899aabbccddeeff",
        hosts=(HOST,),
        format="Bearer {}",
        door=MODEL_PORT,
        upstream=f"https://{HOST}/v1",
        model=ModelDoor(api=ModelApi.RESPONSES),
    )
    proxy, door = world.listener(3128), world.listener(MODEL_PORT)
    async with EgressProcess(settings, command_prefix=world.command_prefix) as egress:
        listeners = Listeners(proxy=(proxy.detach(),), doors={MODEL_PORT: (door.detach(),)})
        await egress.open(SandboxName("bench"), listeners, policy, hear, [grant])
        yield calls


async def load(world: World, how: str, certificate: Path) -> tuple[float, float]:
    """Return the medians of one round of calls, in milliseconds."""
    host, port = (HOST, PORT) if how == _DIRECT else ("-", MODEL_PORT)
    word = "direct" if how == _DIRECT else "door"
    command = (*world.command_prefix, sys.executable, str(_LOAD), "load", word, host, str(port), str(certificate))
    process = await asyncio.create_subprocess_exec(*command, str(CALLS), stdout=subprocess.PIPE)
    printed, _ = await process.communicate()
    if process.returncode != 0:
        raise subprocess.CalledProcessError(process.returncode or 1, command)
    first, whole = json.loads(printed)
    return first * 1000, whole * 1000


async def _measure(place: Path) -> list[Samples]:
    certificate, own = make_certificate(place), place / "own.pem"
    rounds: dict[str, list[tuple[float, float]]] = {_DOOR: [], _DIRECT: []}
    async with AsyncExitStack() as stack:
        world = stack.enter_context(open_world(f"cloister-bench-{os.getpid()}", {HOST: ADDRESS}))
        stack.enter_context(open_provider(world, certificate))
        calls = await stack.enter_async_context(open_door(world, own.read_text()))
        for number in range(-1, ROUNDS):
            for how in (_DOOR, _DIRECT) if number % 2 else (_DIRECT, _DOOR):
                measured = await load(world, how, own)
                if number >= 0:
                    rounds[how].append(measured)
        if any(call.estimated or call.usage is None for call in calls) or len(calls) < ROUNDS * CALLS:
            raise RuntimeError("not every call was counted")
    return [
        Samples(row=row, subject=how, values=tuple(one[at] for one in rounds[how]))
        for at, row in enumerate((_FIRST, _WHOLE))
        for how in (_DOOR, _DIRECT)
    ]


def _added(samples: list[Samples], row: str) -> float:
    """Return the median of what the rounds' own pairs differ by."""
    ours, direct = (next(it for it in samples if (it.row, it.subject) == (row, how)) for how in (_DOOR, _DIRECT))
    return statistics.median(one - other for one, other in zip(ours.values, direct.values, strict=True))


async def run(_: Path) -> bool:
    """Measure and publish."""
    place = Path(tempfile.mkdtemp(prefix="cloister-models-"))
    try:
        os.chmod(place, 0o755)  # noqa: PTH101 - the egress process is another user
        samples = await _measure(place)
    finally:
        shutil.rmtree(place)
    about = (
        "POST of 20 KB over a connection that is kept open, answered by a stream of 20 events, one each 2 ms, with "
        "usage in the last one (`benchmarks/model_load.py`). Through the door the client speaks plain HTTP; the egress "
        "process judges the call, puts the key in, searches what goes up for placeholders and what comes down for the "
        "key, reads the usage and reports it. Beside it, the same client over TLS to the same server. Each sample is "
        f"the median of {CALLS} calls one after the other. Client, proxy and origin share the machine's cores."
    )
    bars = tuple(
        Bar(what=f"what the door adds, {row}", value=_added(samples, row), at_most=2.0, unit="ms")
        for row in (_FIRST, _WHOLE)
    )
    report = Report(name="models", title="Calls of a model", about=about, samples=tuple(samples), bars=bars)
    return publish(report)
