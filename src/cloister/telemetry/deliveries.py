"""Counts what forges tell of, and how long that waits."""

from opentelemetry.metrics import Meter

from cloister.telemetry.tasks import SECONDS


class DeliveryCounters:
    """The instruments. A kind is a label only when the forge has signed it: strangers make no series."""

    def __init__(self, meter: Meter) -> None:
        self._arrived = meter.create_counter(
            "cloister.forge.deliveries", unit="{delivery}", description="Deliveries of a forge's webhook."
        )
        self._waited = meter.create_histogram(
            "cloister.forge.delivery.wait",
            unit="s",
            description="From when a delivery arrived until the first work at it began.",
            explicit_bucket_boundaries_advisory=SECONDS,
        )

    def arrived(self, arrival: str, kind: str | None) -> None:
        """Count one: `taken`, `known`, `ignored` or `refused`."""
        self._arrived.add(1, {"outcome": arrival, **({"kind": kind} if kind is not None else {})})

    def begun(self, waited: float) -> None:
        """Count how long it waited, in seconds."""
        self._waited.record(max(waited, 0.0))
