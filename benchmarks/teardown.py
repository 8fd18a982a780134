"""Teardown: a sandbox with a running program, until every trace of it is gone or on its way out."""

import secrets
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from docker import IMAGE, Docker, open_docker
from measure import Bar, Report, Samples, paired_ratio, publish, take_turns
from sandboxes import Bench, make_project, open_bench, start

from cloister.model.sandbox import SandboxName
from cloister.sandboxes.oci.image import OciImageStore

ROUNDS = 15
WRITTEN = "for i in $(seq 200); do echo $i > /var/tmp/$i; done"
"""What both write, so that there is something to remove."""
_PROGRAM = ("/bin/sh", "-c", f"{WRITTEN}; echo ready; exec sleep 1000")


def destroy(bench: Bench) -> Callable[[], Awaitable[float]]:
    """Return a probe of `destroy` while a program runs."""

    async def probe() -> float:
        name = SandboxName(f"bench-{secrets.token_hex(4)}")
        sandbox = await bench.create(name)
        await sandbox.checkout(bench.project.checkout())
        process = await start(sandbox, *_PROGRAM)
        async for _ in process.output():
            break
        begun = time.perf_counter()
        await bench.backend.destroy(name)
        return time.perf_counter() - begun

    return probe


def remove(docker: Docker) -> Callable[[], Awaitable[float]]:
    """Return a probe of `docker rm -f` while a program runs."""

    async def probe() -> float:
        container = (await docker.call("run", "--detach", "--network", "none", IMAGE, *_PROGRAM)).strip()
        while "ready" not in await docker.call("logs", container):
            pass
        return await docker.timed("rm", "--force", container)

    return probe


async def _measure(state: Path, place: Path) -> dict[str, Samples]:
    images = OciImageStore(state)
    rootfs = images.rootfs(await images.ensure("base"))
    async with open_docker(state) as docker, open_bench(state, make_project(place, files=100)) as bench:
        await docker.import_rootfs(rootfs)
        probes = {"cloister": destroy(bench), "docker rm -f": remove(docker)}
        return await take_turns("teardown of a running sandbox", probes, rounds=ROUNDS)


async def run(state: Path) -> bool:
    """Measure and publish."""
    place = Path(tempfile.mkdtemp(prefix="teardown-", dir=state))
    try:
        samples = await _measure(state, place / "project")
    finally:
        shutil.rmtree(place)
    about = (
        "A program runs and 200 files were written. `destroy` kills it and takes away container, control group, "
        "network namespace, mount and disk (the disk is renamed, and deleted by a process that nobody waits for); "
        "`docker rm -f` does the like."
    )
    bar = Bar(what="teardown / docker rm -f, median of pairs", value=paired_ratio(*samples.values()), at_most=1 / 5)
    return publish(Report(name="teardown", title="Teardown", about=about, samples=tuple(samples.values()), bars=(bar,)))
