"""What counts, where anybody wants the numbers."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from cloister.settings import Settings
from cloister.stores.database import Database
from cloister.stores.queue_depth import read_queue_depth
from cloister.stores.tasks import SqlTaskStore

if TYPE_CHECKING:
    from cloister.telemetry.instruments import Instruments


@contextmanager
def open_instruments(settings: Settings, database: Database, *, shown: bool) -> Iterator["Instruments | None"]:
    """Return what counts; where nobody wants the numbers, nothing is loaded for them."""
    is_sent = settings.otlp_endpoint or any(name.startswith("OTEL_EXPORTER_OTLP") for name in os.environ)
    if not shown and settings.metrics_listen is None and not is_sent:
        yield None
        return
    from cloister.telemetry import instruments

    with instruments.open_instruments(
        settings.metrics_listen,
        partial(read_queue_depth, database),
        SqlTaskStore(database),
        collector=settings.otlp_endpoint,
    ) as opened:
        yield opened
