"""Intercepted HTTPS: small requests that a proxy reads, through our egress process and through mitmdump."""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

from measure import REPOSITORY, Bar, Probe, Report, Samples, paired_ratio, publish, take_turns
from proxies import Proxy, open_cloister, open_mitmdump
from world import World, open_world

ROUNDS = 7
HOST, ADDRESS, PORT = "origin.example.com", "93.184.215.14", 443
REQUESTS, AT_ONCE = 1600, 8
_LOAD = REPOSITORY / "benchmarks" / "https_load.py"


def requests(world: World, proxy: Proxy) -> Probe:
    """Return a probe of requests over connections that are kept open."""
    command = (*world.command_prefix, sys.executable, str(_LOAD), "load", str(proxy.port), HOST)

    async def probe() -> float:
        process = await asyncio.create_subprocess_exec(*command, str(REQUESTS), str(AT_ONCE), stdout=subprocess.PIPE)
        printed, _ = await process.communicate()
        if process.returncode != 0:
            raise subprocess.CalledProcessError(process.returncode or 1, command)
        return float(printed)

    return probe


def make_certificate(place: Path) -> Path:
    """Make a key and a certificate of the origin, which vouches for itself, in one file."""
    both = place / "origin.pem"
    new = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-days", "2")
    names = ("-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST}")
    subprocess.run(
        [*new, *names, "-keyout", str(both), "-out", str(place / "own.pem")], check=True, capture_output=True
    )
    both.write_text(both.read_text() + (place / "own.pem").read_text())
    return both


@contextmanager
def open_origin(world: World, certificate: Path) -> Iterator[None]:
    """Run the origin."""
    command = (*world.command_prefix, sys.executable, str(_LOAD), "origin", ADDRESS, str(PORT), str(certificate))
    with subprocess.Popen(command, stdout=subprocess.PIPE) as origin:
        assert origin.stdout is not None
        try:
            origin.stdout.readline()
            yield
        finally:
            origin.terminate()


async def _measure(place: Path) -> tuple[list[Samples], list[Bar]]:
    certificate = make_certificate(place)
    async with AsyncExitStack() as stack:
        world = stack.enter_context(open_world(f"cloister-bench-{os.getpid()}", {HOST: ADDRESS}))
        stack.enter_context(open_origin(world, certificate))
        own = (place / "own.pem").read_text()
        proxies = {
            "cloister": await stack.enter_async_context(open_cloister(world, HOST, (PORT,), vouching=own)),
            "mitmdump": stack.enter_context(open_mitmdump(world, place / "mitmdump", intercept=True)),
        }
        probes = {subject: requests(world, proxy) for subject, proxy in proxies.items()}
        row = f"{REQUESTS:,} requests over {AT_ONCE} connections"
        samples = await take_turns(row, probes, rounds=ROUNDS)
    ratio = paired_ratio(samples["cloister"], samples["mitmdump"])
    return [*samples.values()], [Bar(what="requests, time / mitmdump's", value=ratio, at_most=1 / 5)]


async def run(_: Path) -> bool:
    """Measure and publish."""
    place = Path(tempfile.mkdtemp(prefix="cloister-intercepted-"))
    try:
        os.chmod(place, 0o755)  # noqa: PTH101 - mitmdump has files of its own below
        samples, bars = await _measure(place)
    finally:
        shutil.rmtree(place)
    about = (
        "GET requests inside HTTPS over connections that are kept open, each read by the proxy, which is the server to "
        "the client and a client to the origin (`benchmarks/https_load.py`). Our egress process judges each by the "
        "policy's methods and reports it as an event, and verifies the origin's certificate; mitmdump is told to "
        "accept any, and prints nothing. Client, proxy and origin share the machine's cores."
    )
    report = Report(
        name="intercepted", title="Intercepted HTTPS", about=about, samples=tuple(samples), bars=tuple(bars)
    )
    return publish(report)
