"""Where the numbers go: a page that Prometheus fetches, a collector that they are sent to, or both."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import Meter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.exposition import choose_encoder

from cloister.errors import ConflictError, UsageError

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


def is_sending(environ: Mapping[str, str]) -> bool:
    """Whether the standard variables of OpenTelemetry ask for metrics to be sent."""
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or environ.get("OTEL_METRICS_EXPORTER", "otlp") != "otlp":
        return False
    return bool(
        environ.get("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "") or environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "")
    )


@contextmanager
def open_meter(listen: tuple[str, int] | None, environ: Mapping[str, str] = os.environ) -> Iterator[Measuring]:
    """Serve what is measured at the address `listen`, and send it as the OTEL_ variables say, until the block is left.

    ConflictError when the address is taken; UsageError for a variable that asks for what we do not have.
    """
    registry = CollectorRegistry()
    readers: list[MetricReader] = [PrometheusMetricReader(scope_info_enabled=False, registry=registry)]
    if is_sending(environ):
        readers.append(_sender(environ))
    provider = MeterProvider(readers, resource=_resource(environ), shutdown_on_exit=False)
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


def _sender(environ: Mapping[str, str]) -> MetricReader:
    # Only here: it loads a client of its own, which takes longer than all the rest.
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

    general = environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", _PROTOCOL)
    protocol = environ.get("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", general)
    if protocol != _PROTOCOL:
        raise UsageError(f"OTEL_EXPORTER_OTLP_PROTOCOL is {protocol}, and metrics are sent by {_PROTOCOL} alone")
    return PeriodicExportingMetricReader(OTLPMetricExporter())


def _resource(environ: Mapping[str, str]) -> Resource:
    """Say who measures: what the variables say, and `cloister` where they name no service."""
    named = "OTEL_SERVICE_NAME" in environ or "service.name=" in environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    return Resource.create({} if named else {"service.name": "cloister"})
