import os
import signal
import socket

import anyio
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from cloister.egress.fake import FakeEgress
from cloister.egress.process import EgressProcess
from cloister.model.network import Decision, EgressEnd, EgressRecord, NetworkMode, NetworkPolicy
from cloister.model.phase import Phase
from cloister.model.sandbox import SandboxName
from cloister.protocols import Listeners
from cloister.telemetry.egress import CountedEgress, EgressCounters

NAME = SandboxName("t-1")
POLICY = NetworkPolicy(mode=NetworkMode.FULL, phase=Phase.SETUP, environment="web")


def record(flow: int, *, allowed: bool = True) -> EgressRecord:
    decision = Decision(allowed=allowed, rule="a rule")
    return EgressRecord(
        sandbox=NAME, phase=Phase.SETUP, host="h.example", port=80, method="GET", decision=decision, flow=flow
    )


def end(flow: int) -> EgressEnd:
    return EgressEnd(sandbox=NAME, phase=Phase.SETUP, flow=flow, sent_bytes=1, received_bytes=2, seconds=0.5)


def values(reader: InMemoryMetricReader, name: str) -> list[float]:
    data = reader.get_metrics_data()
    assert data is not None
    metrics = data.resource_metrics[0].scope_metrics[0].metrics
    return [point.value for metric in metrics if metric.name == name for point in metric.data.data_points]  # type: ignore[union-attr]


def listeners() -> Listeners:
    return Listeners(proxy=(os.open(os.devnull, os.O_RDONLY),))


def listeners_at_loopback() -> Listeners:
    return Listeners(proxy=(socket.create_server(("127.0.0.1", 0)).detach(),))


async def test_what_is_open_is_counted_until_it_ends_or_its_sandbox_is_closed() -> None:
    reader = InMemoryMetricReader()
    counters = EgressCounters(MeterProvider([reader], shutdown_on_exit=False).get_meter("test"))
    told = [record(1), record(2), record(3, allowed=False)]
    egress = CountedEgress(FakeEgress({Phase.SETUP: told}), counters)
    heard: list[EgressRecord | EgressEnd] = []
    await egress.open(NAME, listeners(), POLICY, heard.append)
    assert heard == told, "who listened before still does"
    assert values(reader, "cloister.egress.open_flows") == [2]
    counters.count(NAME, end(1), {Phase.SETUP: NetworkMode.FULL})
    assert values(reader, "cloister.egress.open_flows") == [1]
    await egress.close(NAME)  # an egress process that was killed told no end of the other
    assert values(reader, "cloister.egress.open_flows") == [0]
    counters.count(NAME, end(2), {})
    assert values(reader, "cloister.egress.open_flows") == [0]
    assert sorted(values(reader, "cloister.egress.decisions")) == [1, 2]


async def test_nothing_is_open_behind_an_egress_process_that_was_killed() -> None:
    reader = InMemoryMetricReader()
    counters = EgressCounters(MeterProvider([reader], shutdown_on_exit=False).get_meter("test"))
    async with EgressProcess() as process:
        broken = anyio.Event()

        def forget() -> None:
            counters.forget_all()
            broken.set()

        process.when_broken = forget
        egress = CountedEgress(process, counters)
        await egress.open(NAME, listeners_at_loopback(), POLICY, lambda _: None)
        counters.count(NAME, record(1), {})
        assert values(reader, "cloister.egress.open_flows") == [1]
        os.kill(process.pid or 0, signal.SIGKILL)
        with anyio.fail_after(10):
            await broken.wait()
        assert values(reader, "cloister.egress.open_flows") == [0]
        await egress.open(NAME, listeners_at_loopback(), POLICY, lambda _: None)  # by the next one
