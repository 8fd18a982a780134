"""Proxy: tunnels through our egress process, squid, tinyproxy and mitmdump, beside a direct connection."""

import asyncio
import os
import shutil
import ssl
import statistics
import subprocess
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from measure import REPOSITORY, Bar, Probe, Report, Samples, paired_ratio, publish, take_turns
from proxies import Proxy, open_cloister, open_mitmdump, open_squid, open_tinyproxy, put_first
from world import World, open_world

ROUNDS = 7
OPENING_ROUNDS = 21
"""It takes a tenth of a second, in which a neighbour on the machine counts for much."""
HOST, ADDRESS = "origin.example.com", "93.184.215.14"
RAW_PORT, TLS_PORT = 8443, 443
DIRECT = "direct"
MIB = 1024 * 1024
ALONE_BYTES, TOGETHER_BYTES, TOGETHER = 512 * MIB, 64 * MIB, 8
EXCHANGES = 3000
OPENED, AT_ONCE = 400, 16
HELD = 1000
_PACKAGES = ("squid", "tinyproxy", "mitmproxy")


@dataclass(frozen=True, slots=True)
class Client:
    """Runs `tunnels.c` inside, towards one proxy or straight to the origin."""

    world: World
    program: Path
    where: str
    """The proxy's port, or `direct`."""

    async def ask(self, what: str, port: int, *words: object) -> list[float]:
        """Return the figures that it prints. CalledProcessError when it fails."""
        command = self.command(what, port, *words)
        process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
        printed, _ = await process.communicate()
        if process.returncode != 0:
            raise subprocess.CalledProcessError(process.returncode or 1, command)
        return [float(word) for word in printed.split()]

    def command(self, what: str, port: int, *words: object) -> tuple[str, ...]:
        """Return its command line."""
        own = (str(self.program), what, self.where, ADDRESS, HOST, str(port))
        return (*self.world.command_prefix, *own, *(str(word) for word in words))


@dataclass(frozen=True, slots=True)
class Exchanges:
    """A probe of small requests in an open tunnel. It returns the median, and keeps the 95th percentile."""

    client: Client
    slow: list[float] = field(default_factory=list)

    async def __call__(self) -> float:
        median, slow = await self.client.ask("exchanges", RAW_PORT, EXCHANGES)
        self.slow.append(slow * 1e6)
        return median


def bulk(client: Client, tunnels: int, size: int) -> Probe:
    """Return a probe of a download of `size` bytes through each of `tunnels`."""

    async def probe() -> float:
        return (await client.ask("bulk", RAW_PORT, tunnels, size))[0]

    return probe


def opening(client: Client, hello: Path) -> Probe:
    """Return a probe of tunnels that are opened, carry a ClientHello and its echo, and are closed."""

    async def probe() -> float:
        return (await client.ask("open", TLS_PORT, OPENED, AT_ONCE, hello))[0]

    return probe


async def measure_small(clients: Mapping[str, Client]) -> tuple[dict[str, Samples], list[Samples]]:
    """Return medians and 95th percentiles of small requests, in microseconds."""
    probes = {subject: Exchanges(client) for subject, client in clients.items()}
    medians = await take_turns("64 bytes there and back in an open tunnel, median", probes, rounds=ROUNDS)
    slow = [
        Samples(row="the same, 95 of 100 within", subject=subject, values=tuple(probe.slow[1:]), unit="µs")
        for subject, probe in probes.items()
    ]
    in_microseconds = {
        subject: replace(samples, values=tuple(value * 1000 for value in samples.values), unit="µs")
        for subject, samples in medians.items()
    }
    return in_microseconds, slow


async def measure_memory(clients: Mapping[str, Client], proxies: Mapping[str, Proxy]) -> dict[str, Samples]:
    """Return the megabytes of each proxy while it has idle tunnels open."""
    found = {}
    for subject, proxy in proxies.items():
        command = clients[subject].command("hold", RAW_PORT, HELD)
        holder = await asyncio.create_subprocess_exec(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert holder.stdout is not None
        assert holder.stdin is not None
        if await holder.stdout.readline() != b"held\n":
            raise RuntimeError(f"{subject} does not hold {HELD} tunnels")
        megabytes = proxy.resident_bytes() / 1e6
        holder.stdin.close()
        await holder.wait()
        found[subject] = Samples(
            row=f"memory with {HELD:,} idle tunnels", subject=subject, values=(megabytes,), unit="MB"
        )
    return found


def added_ratio(ours: Samples, theirs: Samples, direct: Samples) -> float:
    """Return what we add to a direct connection by what they add, the median of the rounds' own ratios."""
    rounds = zip(ours.values, theirs.values, direct.values, strict=True)
    return statistics.median((our - bare) / (their - bare) for our, their, bare in rounds)


def build(place: Path) -> Path:
    """Compile the origin and client, and return the program."""
    program = place / "tunnels"
    source = REPOSITORY / "benchmarks" / "tunnels.c"
    subprocess.run(["gcc", "-O2", "-pthread", "-o", str(program), str(source)], check=True)
    return program


def write_hello(path: Path) -> Path:
    """Write a ClientHello of OpenSSL for the origin."""
    outgoing = ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=HOST)
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        path.write_bytes(outgoing.read())
    return path


@contextmanager
def open_origin(world: World, program: Path, port: int) -> Iterator[None]:
    """Run the origin on this port."""
    command = (*world.command_prefix, str(program), "origin", ADDRESS, str(port))
    with subprocess.Popen(command, stdout=subprocess.PIPE) as origin:
        assert origin.stdout is not None
        try:
            origin.stdout.readline()
            yield
        finally:
            origin.terminate()


async def _measure(place: Path) -> tuple[list[Samples], list[Bar]]:
    put_first(os.getpid())
    program, hello = build(place), write_hello(place / "hello")
    async with AsyncExitStack() as stack:
        world = stack.enter_context(open_world(f"cloister-bench-{os.getpid()}", {HOST: ADDRESS}))
        for port in (RAW_PORT, TLS_PORT):
            stack.enter_context(open_origin(world, program, port))
        proxies = {
            "cloister": await stack.enter_async_context(open_cloister(world, HOST, (RAW_PORT, TLS_PORT))),
            "squid": stack.enter_context(open_squid(world, place / "squid")),
            "tinyproxy": stack.enter_context(open_tinyproxy(world, place / "tinyproxy")),
            "mitmdump": stack.enter_context(open_mitmdump(world, place / "mitmdump", intercept=False)),
        }
        clients = {subject: Client(world, program, str(proxy.port)) for subject, proxy in proxies.items()}
        return await _measure_all({DIRECT: Client(world, program, DIRECT), **clients}, proxies, hello)


async def _measure_all(
    clients: Mapping[str, Client], proxies: Mapping[str, Proxy], hello: Path
) -> tuple[list[Samples], list[Bar]]:
    async def turns(
        row: str, make: Callable[[Client], Callable[[], Awaitable[float]]], *, rounds: int = ROUNDS
    ) -> dict[str, Samples]:
        return await take_turns(row, {subject: make(client) for subject, client in clients.items()}, rounds=rounds)

    alone = await turns(f"{ALONE_BYTES // MIB} MiB through one tunnel", lambda client: bulk(client, 1, ALONE_BYTES))
    together = await turns(
        f"{TOGETHER_BYTES // MIB} MiB through each of {TOGETHER} tunnels",
        lambda client: bulk(client, TOGETHER, TOGETHER_BYTES),
    )
    small, slow = await measure_small(clients)
    opened = await turns(
        f"{OPENED} tunnels opened, used and closed, {AT_ONCE} at once",
        lambda client: opening(client, hello),
        rounds=OPENING_ROUNDS,
    )
    memory = await measure_memory(clients, proxies)
    samples = [*alone.values(), *together.values(), *small.values(), *slow, *opened.values(), *memory.values()]
    return samples, _bars(alone, together, small, opened, memory)


def _bars(
    alone: Mapping[str, Samples],
    together: Mapping[str, Samples],
    small: Mapping[str, Samples],
    opened: Mapping[str, Samples],
    memory: Mapping[str, Samples],
) -> list[Bar]:
    added = added_ratio(small["cloister"], small["squid"], small[DIRECT])
    return [
        Bar(what="one tunnel, time / direct", value=paired_ratio(alone["cloister"], alone[DIRECT]), at_most=2),
        Bar(
            what=f"{TOGETHER} tunnels, time / direct",
            value=paired_ratio(together["cloister"], together[DIRECT]),
            at_most=2,
        ),
        Bar(what="what is added to a small request / what squid adds", value=added, at_most=1),
        Bar(what="opening tunnels, time / squid's", value=paired_ratio(opened["cloister"], opened["squid"]), at_most=1),
        Bar(what=f"memory with {HELD:,} idle tunnels", value=memory["cloister"].p50, at_most=100, unit="MB"),
    ]


def _package_versions(packages: Sequence[str]) -> str:
    query = ("dpkg-query", "--show", "--showformat=${Package} ${Version}, ", *packages)
    return subprocess.run(query, capture_output=True, text=True, check=True).stdout.removesuffix(", ")


async def run(_: Path) -> bool:
    """Measure and publish."""
    place = Path(tempfile.mkdtemp(prefix="cloister-proxy-"))
    try:
        os.chmod(place, 0o755)  # noqa: PTH101 - the others' processes have users of their own
        samples, bars = await _measure(place)
    finally:
        shutil.rmtree(place)
    about = (
        "CONNECT tunnels inside one network namespace, from a client through the proxy to an origin, both in C "
        "(`benchmarks/tunnels.c`). Our egress process does all that it does for a sandbox: policy, look-up, address "
        "check, an event for each decision, the server name in the ClientHello; only its limits on connections and "
        "decisions are raised. Tunnels that are opened go to port 443, carry a ClientHello of OpenSSL and its echo; "
        "no keys are agreed upon, which would take longer than all of this. The others are Debian's "
        f"({_package_versions(_PACKAGES)}): squid as one process with its access log and no cache, tinyproxy as it "
        "comes, mitmdump with interception switched off; each in a session of its own, among which the "
        "kernel shares the processors out; all of them go before whatever else the machine does. "
        "Memory is the proportional share (PSS) of all processes. "
        "Client, proxy and origin share the machine's cores, so a proxy between them is never free."
    )
    return publish(Report(name="proxy", title="Proxy", about=about, samples=tuple(samples), bars=tuple(bars)))
