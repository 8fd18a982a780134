"""Where the numbers go: a page that Prometheus fetches, a collector that they are sent to, or both."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import Meter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.exposition import choose_encoder

from cloister.errors import ConflictError, UsageError
from cloister.protocols import TaskStore

if TYPE_CHECKING:
    from cloister.telemetry.traces import TaskTracer

_CLOSING_MILLISECONDS = 5000
"""How long the last numbers may take to a collector that is slow or gone."""
_PROTOCOL = "http/protobuf"


@dataclass(frozen=True, slots=True)
class Measuring:
    """Where instruments come from, and what they have counted."""

    meter: Meter
    registry: CollectorRegistry

    def page(self, accept: str) -> tuple[bytes, str]:
        """Return all numbers as Prometheus asks for them, and the media type."""
        encode, media_type = choose_encoder(accept)
        return encode(self.registry), media_type


def find_endpoint(signal: str, setting: str | None, environ: Mapping[str, str]) -> str | None:
    """Return where `metrics` or `traces` are sent: as OpenTelemetry's variables say, else as the setting does.

    None for nowhere. UsageError for a protocol that we do not speak.
    """
    name = signal.upper()
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or environ.get(f"OTEL_{name}_EXPORTER", "otlp") != "otlp":
        return None
    own = environ.get(f"OTEL_EXPORTER_OTLP_{name}_ENDPOINT")
    base = environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or setting
    endpoint = own or (f"{base.rstrip('/')}/v1/{signal}" if base else None)
    general = environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", _PROTOCOL)
    protocol = environ.get(f"OTEL_EXPORTER_OTLP_{name}_PROTOCOL", general)
    if endpoint and protocol != _PROTOCOL:
        raise UsageError(f"OTEL_EXPORTER_OTLP_PROTOCOL is {protocol}, and {signal} are sent by {_PROTOCOL} alone")
    return endpoint


@contextmanager
def open_tracer(
    store: TaskStore, setting: str | None = None, environ: Mapping[str, str] = os.environ
) -> Iterator["TaskTracer | None"]:
    """Send traces as the OTEL_ variables or the setting say, until the block is left; None when they say nothing."""
    endpoint = find_endpoint("traces", setting, environ)
    if endpoint is None:
        yield None
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    from cloister.telemetry.traces import TaskTracer

    tracer = TaskTracer(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)), resource_of(environ), store)
    try:
        yield tracer
    finally:
        tracer.close()


@contextmanager
def open_meter(
    listen: tuple[str, int] | None, setting: str | None = None, environ: Mapping[str, str] = os.environ
) -> Iterator[Measuring]:
    """Serve what is measured at the address `listen`, and send it as the OTEL_ variables say, until the block is left.

    Where they say nothing, it is sent to the collector `setting`, if any.

    ConflictError when the address is taken; UsageError for a variable that asks for what we do not have.
    """
    registry = CollectorRegistry()
    readers: list[MetricReader] = [PrometheusMetricReader(scope_info_enabled=False, registry=registry)]
    if endpoint := find_endpoint("metrics", setting, environ):
        readers.append(_sender(endpoint))
    provider = MeterProvider(readers, resource=resource_of(environ), shutdown_on_exit=False)
    try:
        with _served(registry, listen):
            yield Measuring(provider.get_meter("cloister"), registry)
    finally:
        provider.shutdown(timeout_millis=_CLOSING_MILLISECONDS)


@contextmanager
def _served(registry: CollectorRegistry, listen: tuple[str, int] | None) -> Iterator[None]:
    if listen is None:
        yield
        return
    host, port = listen
    try:
        server, thread = start_http_server(port, addr=host, registry=registry)
    except OSError as error:
        raise ConflictError(
            f"metrics cannot be served at {host} port {port}: {error.strerror}",
            hint="stop what listens there, or set metrics_listen to another port",
        ) from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _sender(endpoint: str) -> MetricReader:
    # Only here: it loads a client of its own, which takes longer than all the rest.
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

    return PeriodicExportingMetricReader(OTLPMetricExporter(endpoint=endpoint))


def resource_of(environ: Mapping[str, str]) -> Resource:
    """Say who measures: what the variables say, and `cloister` where they name no service."""
    named = "OTEL_SERVICE_NAME" in environ or "service.name=" in environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    return Resource.create({} if named else {"service.name": "cloister"})
