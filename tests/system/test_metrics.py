"""What a worker counts, fetched as Prometheus does, is what its tasks' logs say; and no label tells on anybody."""

import gzip
import re
import socket
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import anyio
import pytest
from anyio import to_thread
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client.parser import text_string_to_metric_families

from cloister.model.task import TaskId

from .installation import Event, Installation

# pip is let out to the registry that this machine uses; curl asks for a port that nobody may.
ENVIRONMENT = """
name = "counted"
[setup]
automatic = false
script = '''
pip download --quiet --no-deps --dest /root/wheels h11
curl -sS http://hidden.example.com:8443/secret-path || true
'''
[network]
setup = "full"
"""
AGENT = "curl -sS http://hidden.example.com/secret-path; curl -sS http://hidden.example.com/secret-path; true"
NAMES = {
    "cloister_egress_decisions",
    "cloister_egress_io_bytes",
    "cloister_egress_flow_duration_seconds",
    "cloister_egress_open_flows",
    "cloister_attempt_duration_seconds",
    "cloister_attempts",
    "cloister_phase_duration_seconds",
    "cloister_queue_attempts",
    "cloister_queue_wait_seconds",
    "cloister_snapshot_lookups",
    "target_info",
}
LABELS = {
    "verdict": {"allowed", "refused", "succeeded", "failed"},
    "direction": {"sent", "received"},
    "phase": {"provision", "setup", "agent", "output", "teardown"},
    "state": {"queued", "running"},
    "result": {"hit", "missed"},
    "mode": {"off", "limited", "full"},
    "rule": {"mode", "port"},
}

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        return int(taken.getsockname()[1])


def fetch(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return str(answer.read().decode())


def series(page: str) -> Series:
    families = text_string_to_metric_families(page)
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def value(page: str, name: str, **labels: str) -> float:
    return series(page).get((name, frozenset(labels.items())), 0.0)


def total(events: list[Event], phase: str, name: str, field: str | None = None) -> float:
    found = [event for event in events if event["event"] == name and event["phase"] == phase]
    return sum(event[field] for event in found) if field else len(found)


async def run_counted(installation: Installation) -> list[Event]:
    """Have a worker of its own carry out the task, and return its log."""
    async with installation.opened() as running:
        task = await running.submit(AGENT, environment=ENVIRONMENT)
        async for _ in running.application.intake.events(TaskId(task), follow=True):
            pass  # until it is finished
        return (await running.finished(task)).events


async def run_and_fetch(installation: Installation) -> tuple[list[Event], str]:
    """Have a worker carry out the task; return the log, and the metrics as they are then."""
    port = free_port()
    installation.variables["CLOISTER_METRICS_LISTEN"] = f"127.0.0.1:{port}"
    with installation.started("worker") as worker:
        with anyio.fail_after(120):
            events = await run_counted(installation)
        page = await to_thread.run_sync(fetch, port)
        worker.interrupt()
        assert worker.end().code == 0
    return events, page


async def test_what_is_fetched_is_what_the_log_says(installation: Installation) -> None:
    events, page = await run_and_fetch(installation)
    setup = {"phase": "setup", "mode": "full"}
    assert total(events, "setup", "egress_allowed") > 0
    assert total(events, "agent", "egress_refused") == 2
    decisions = "cloister_egress_decisions_total"
    assert value(page, decisions, verdict="allowed", rule="mode", **setup) == total(events, "setup", "egress_allowed")
    assert value(page, decisions, verdict="refused", rule="port", **setup) == total(events, "setup", "egress_refused")
    assert total(events, "setup", "egress_refused") == 1
    assert value(page, decisions, verdict="refused", rule="mode", phase="agent", mode="off") == 2
    for direction in ("sent", "received"):
        carried = total(events, "setup", "egress_finished", f"{direction}_bytes")
        assert value(page, "cloister_egress_io_bytes_total", direction=direction, **setup) == carried > 0
    duration = "cloister_egress_flow_duration_seconds"
    assert value(page, f"{duration}_count", **setup) == total(events, "setup", "egress_finished")
    assert value(page, f"{duration}_sum", **setup) == pytest.approx(
        total(events, "setup", "egress_finished", "seconds")
    )
    assert value(page, "cloister_egress_open_flows") == 0


async def test_no_label_tells_who_was_asked_for_or_by_whom(installation: Installation) -> None:
    events, page = await run_and_fetch(installation)
    assert {family.name for family in text_string_to_metric_families(page)} == NAMES
    labels = {
        (name, value)
        for (sample, pairs) in series(page)
        for name, value in pairs
        if sample.startswith("cloister_") and name != "le"
    }
    assert {value for name, value in labels if value not in LABELS[name]} == set()
    asked_for = {event["host"] for event in events if event["event"].startswith("egress_") and "host" in event}
    assert "hidden.example.com" in asked_for  # the log has it, and it would have been there to count
    for word in (*asked_for, "secret-path", "curl", events[0]["task"], str(installation.state)):
        assert word not in re.sub(r"^target_info.*$", "", page, flags=re.MULTILINE), word


def test_a_port_that_is_taken_is_said_and_nothing_runs(installation: Installation) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        installation.variables["CLOISTER_METRICS_LISTEN"] = f"127.0.0.1:{port}"
        ran = installation.cloister("worker")
    assert ran.code == 2
    assert f"metrics cannot be served at 127.0.0.1 port {port}: Address already in use" in ran.stderr
    assert "metrics_listen" in ran.stderr


def test_a_task_that_is_followed_needs_no_port(installation: Installation) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        installation.variables["CLOISTER_METRICS_LISTEN"] = f"127.0.0.1:{taken.getsockname()[1]}"
        assert installation.cloister(*installation.task()).code == 0


async def test_a_collector_gets_the_same_numbers_and_the_trace(installation: Installation) -> None:
    with collector() as (address, posted):
        installation.variables["OTEL_EXPORTER_OTLP_ENDPOINT"] = address
        with installation.started("worker") as worker:
            events = await run_counted(installation)
            worker.interrupt()  # the last numbers are sent before it ends
            assert worker.end().code == 0
    check_trace(events, posted["/v1/traces"])
    asked = ExportMetricsServiceRequest.FromString(posted["/v1/metrics"][-1])
    (resource,) = asked.resource_metrics
    assert "cloister" in [
        entry.value.string_value for entry in resource.resource.attributes if entry.key == "service.name"
    ]
    (decisions,) = [
        metric for metric in resource.scope_metrics[0].metrics if metric.name == "cloister.egress.decisions"
    ]
    counted = sum(point.as_int for point in decisions.sum.data_points)
    assert counted == sum(event["event"] in ("egress_allowed", "egress_refused") for event in events) > 0


def check_trace(events: list[Event], posted: list[bytes]) -> None:
    """One trace, under the id that the log tells, with a span for the task, its attempt and each phase."""
    spans = [
        span
        for body in posted
        for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for of_scope in of_resource.scope_spans
        for span in of_scope.spans
    ]
    assert {span.trace_id.hex() for span in spans} == {events[0]["trace"]}
    by_name = {span.name: span for span in spans}
    phases = [event["phase"] for event in events if event["event"] == "phase_started"]
    assert set(phases) >= {"provision", "setup", "agent", "output", "teardown"}
    assert {*phases, "task", "queue", "attempt"} <= set(by_name)
    assert by_name["task"].parent_span_id == b""
    assert by_name["attempt"].parent_span_id == by_name["queue"].parent_span_id == by_name["task"].span_id
    assert {by_name[phase].parent_span_id for phase in phases} == {by_name["attempt"].span_id}
    refused = [told for told in by_name["agent"].events if told.name == "egress refused"]
    assert len(refused) == 2


@contextmanager
def collector() -> Iterator[tuple[str, dict[str, list[bytes]]]]:
    """Its address, and what it was sent, by path."""
    posted: dict[str, list[bytes]] = defaultdict(list)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            is_packed = self.headers.get("Content-Encoding") == "gzip"
            posted[self.path].append(gzip.decompress(body) if is_packed else body)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quietly."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", posted
        finally:
            server.shutdown()
