"""Start over HTTP: from a request to a server to the first instruction of its task's agent."""

import json
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, closing
from datetime import datetime
from pathlib import Path

import anyio
import httpx
from bare import BareContainer
from docker import IMAGE, open_docker
from measure import Bar, Report, Samples, paired_ratio, publish, take_turns
from sandboxes import CLOCK, SHELL_CLOCK, make_project
from served import serving

from cloister.sandboxes.oci.image import OciImageStore

ROUNDS = 20
BURSTS, IN_A_ROW = 5, 8
_ENVIRONMENT = 'image = "base"\nagent = "command"\n[setup]\nscript = "echo ready > /root/ready"\n'


def _started(client: httpx.AsyncClient, repository: Path, *, asked: bool) -> Callable[[], Awaitable[float]]:
    """Return a probe of the seconds to the agent's first instruction: since it was `asked` for, or since accepted."""
    body = {
        "repository": str(repository),
        "prompt": "What time is it?",
        "environment": {"text": _ENVIRONMENT},
        "command": CLOCK,
    }

    async def probe() -> float:
        begun = time.time()
        answer = await client.post("/api/v1/tasks", json=body)
        task = answer.json()
        printed = ""
        async with client.stream("GET", f"/api/v1/tasks/{task['id']}/events") as response:
            async for line in response.aiter_lines():
                event = json.loads(line[6:]) if line.startswith("data: {") else {}
                if event.get("event") == "output" and event["command"] == "agent":
                    printed += event["text"]
        accepted = datetime.fromisoformat(task["accepted_at"]).timestamp()
        return float(printed) - (begun if asked else accepted)

    return probe


async def _without_pause(probe: Callable[[], Awaitable[float]]) -> Samples:
    """Start so many tasks one after another, each as soon as the one before is over; all of them count."""
    values: list[float] = []
    for _ in range(BURSTS):
        values += [await probe() * 1000 for _ in range(IN_A_ROW)]
        await anyio.sleep(1)
    row = f"warm start over HTTP, {IN_A_ROW} one after another without a pause"
    return Samples(row=row, subject="cloister, accepted", values=tuple(values))


async def _measure(state: Path, repository: Path) -> list[Samples]:
    images = OciImageStore(state)
    rootfs = images.rootfs(await images.ensure("base"))
    async with AsyncExitStack() as stack, open_docker(state) as docker:
        await docker.import_rootfs(rootfs)
        bare = stack.enter_context(closing(BareContainer(rootfs, state)))
        beside = {
            "docker run --rm": lambda: docker.timed("run", "--rm", "--network", "none", IMAGE, *SHELL_CLOCK),
            "crun run true": bare.run,
        }
        async with serving(state) as client:
            accepted = _started(client, repository, asked=False)
            ours = {"cloister, accepted": accepted, "cloister, asked": _started(client, repository, asked=True)}
            measured = await take_turns("warm start over HTTP to first instruction", ours | beside, rounds=ROUNDS)
            in_a_row = await _without_pause(accepted)
        async with serving(state, spares="0") as client:
            alone = {"cloister, accepted": _started(client, repository, asked=False)}
            without = await take_turns("the same, without spares", alone | beside, rounds=ROUNDS)
    return [*measured.values(), in_a_row, *without.values()]


async def run(state: Path) -> bool:
    """Measure and publish."""
    place = Path(tempfile.mkdtemp(prefix="http-start-", dir=state))
    try:
        samples = await _measure(state, make_project(place / "project", files=100).tree)
    finally:
        shutil.rmtree(place)
    accepted, _, docker, crun, in_a_row, *_ = samples
    about = (
        "A server as a process. A task is asked for over its socket, on a warm environment, and followed by its event "
        "stream: from its acceptance on disk, and from the request itself, to the first instruction of its agent "
        "(a shell, which prints the clock). Beside it `docker run --rm --network none` of the same root file system "
        "and shell, and `crun run true`. The server has its two [spares](../how-to/server.md#spares), as it has "
        f"by itself. So {IN_A_ROW} tasks are also started one after another, each as soon as the one before is over, "
        f"{BURSTS} times, and the first measurement is repeated on a server that has no spares."
    )
    bars = (
        Bar(what="over HTTP / docker run --rm, median of pairs", value=paired_ratio(accepted, docker), at_most=1 / 8),
        Bar(what="over HTTP / docker run --rm, 95 %", value=accepted.p95 / docker.p95, at_most=1 / 8),
        Bar(what="over HTTP / crun run true, median of pairs", value=paired_ratio(accepted, crun), at_most=4.0),
        Bar(
            what=f"{IN_A_ROW} without a pause / docker run --rm, medians",
            value=in_a_row.p50 / docker.p50,
            at_most=1 / 8,
        ),
    )
    return publish(Report(name="http_start", title="Start over HTTP", about=about, samples=tuple(samples), bars=bars))
