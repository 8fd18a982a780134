"""Start: from the acceptance of a task to the first instruction of its agent, warm and cold."""

import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, closing
from pathlib import Path

import anyio
from bare import BareContainer
from docker import IMAGE, Docker, open_docker
from measure import Bar, Report, Samples, paired_ratio, publish, take_turns
from sandboxes import CLOCK, SHELL_CLOCK, make_project

from cloister.model.event import Output
from cloister.model.request import EnvironmentText, Request
from cloister.model.task import Task, Verdict
from cloister.sandboxes.oci.image import OciImageStore
from cloister.settings import Settings
from cloister.wiring import Application, open_application

WARM_ROUNDS = 20
SMALL_FILES, LARGE_FILES = 100, 100_000
COLD_ROUNDS = 5
_ENVIRONMENT = EnvironmentText(
    source="bench.toml",
    raw=b'image = "base"\nagent = "command"\n[setup]\nscript = "echo ready > /root/ready"\n',
)


async def first_instruction(application: Application, repository: Path, *, warm: bool) -> tuple[Task, float]:
    """Run a task whose agent prints the clock; return the task and that time, in seconds since the epoch."""
    request = Request(
        repository=str(repository),
        prompt="What time is it?",
        environment=_ENVIRONMENT,
        command=CLOCK,
        use_cache=warm,
    )
    task = await application.intake.submit(request)
    printed = ""
    async for recorded in application.intake.events(task.id, follow=True):
        if isinstance(recorded.event, Output) and recorded.event.command == "agent":
            printed += recorded.event.text
    status = await application.intake.task(task.id)
    if status.verdict is not Verdict.SUCCEEDED:
        raise RuntimeError(f"the task {status.verdict}: {status.attempts[0].outcome}")
    return task, float(printed)


def accepted_to_agent(application: Application, repository: Path, *, warm: bool) -> Callable[[], Awaitable[float]]:
    """Return a probe of the time since the task was accepted."""

    async def probe() -> float:
        task, began = await first_instruction(application, repository, warm=warm)
        return began - task.accepted_at.timestamp()

    return probe


def asked_to_agent(application: Application, repository: Path) -> Callable[[], Awaitable[float]]:
    """Return a probe of the time since the request was made; its checks and the look at the repository included."""

    async def probe() -> float:
        asked = time.time()
        _, began = await first_instruction(application, repository, warm=True)
        return began - asked

    return probe


def docker_to_command(docker: Docker) -> Callable[[], Awaitable[float]]:
    """Return a probe of the time from `docker run` to the first instruction of its command."""

    async def probe() -> float:
        asked = time.time()
        printed = await docker.call("run", "--rm", "--network", "none", IMAGE, *SHELL_CLOCK)
        return float(printed) - asked

    return probe


async def _measure(state: Path, small: Path, large: Path) -> list[Samples]:
    images = OciImageStore(state)
    rootfs = images.rootfs(await images.ensure("base"))
    async with (
        AsyncExitStack() as stack,
        open_docker(state) as docker,
        open_application(Settings(state=state)) as application,
        anyio.create_task_group() as group,
    ):
        await docker.import_rootfs(rootfs)
        bare = stack.enter_context(closing(BareContainer(rootfs, state)))
        group.start_soon(application.work)
        warm = await take_turns(
            "warm start to first instruction",
            {
                "cloister, accepted": accepted_to_agent(application, small, warm=True),
                "docker run --rm": lambda: docker.timed("run", "--rm", "--network", "none", IMAGE, *SHELL_CLOCK),
                "crun run true": bare.run,
                f"cloister, accepted, {LARGE_FILES:,} files": accepted_to_agent(application, large, warm=True),
                "cloister, asked": asked_to_agent(application, small),
                "docker run, first instruction": docker_to_command(docker),
            },
            rounds=WARM_ROUNDS,
        )
        cold = await take_turns(
            "cold start (checkout and a trivial setup)",
            {"cloister, accepted": accepted_to_agent(application, small, warm=False)},
            rounds=COLD_ROUNDS,
        )
        group.cancel_scope.cancel()
    return [*warm.values(), *cold.values(), await _without_spares(state, small)]


async def _without_spares(state: Path, project: Path) -> Samples:
    """Measure as a command has it that starts one task and ends."""
    async with open_application(Settings(state=state, spares=0)) as application, anyio.create_task_group() as group:
        group.start_soon(application.work)
        probe = {"cloister, accepted": accepted_to_agent(application, project, warm=True)}
        measured = await take_turns("warm start without spares", probe, rounds=WARM_ROUNDS)
        group.cancel_scope.cancel()
    return measured["cloister, accepted"]


async def run(state: Path) -> bool:
    """Measure and publish."""
    place = Path(tempfile.mkdtemp(prefix="start-", dir=state))
    try:
        small = make_project(place / "small", files=SMALL_FILES).tree
        large = make_project(place / "large", files=LARGE_FILES).tree
        samples = await _measure(state, small, large)
    finally:
        shutil.rmtree(place)
    accepted, docker, crun, accepted_large, *_ = samples
    about = (
        "A task on a warm environment, from its acceptance on disk to the first instruction of its agent (a shell, "
        "which prints the clock), through the queue, the worker and the phases. `asked` counts from the request, so "
        "the look at the repository is in it. Beside it `docker run --rm --network none` of the same root file "
        "system and the same shell, to its end and to its first instruction, and `crun run true` to its end, which "
        f"is the least that a container costs. The repository has {SMALL_FILES} files, and {LARGE_FILES:,} in the row "
        "that says so. The process stays, and has two [spares](../how-to/server.md#spares); a command that starts one "
        "task and ends has none, as in the last row."
    )
    bars = (
        Bar(what="warm start / docker run --rm, median of pairs", value=paired_ratio(accepted, docker), at_most=1 / 8),
        Bar(what="warm start / docker run --rm, 95 %", value=accepted.p95 / docker.p95, at_most=1 / 8),
        Bar(what="warm start / crun run true, median of pairs", value=paired_ratio(accepted, crun), at_most=4.0),
        Bar(
            what=f"warm start, {LARGE_FILES:,} files / {SMALL_FILES} files, median of pairs",
            value=paired_ratio(accepted_large, accepted),
            at_most=1.2,
        ),
    )
    return publish(Report(name="start", title="Start", about=about, samples=tuple(samples), bars=bars))
