"""What is counted of tasks is what happened in them."""

from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families

from cloister.model.event import CheckFinished, ModelCallFailed, Output, PhaseFinished, SnapshotHit, SnapshotMissed
from cloister.model.event import Usage as UsageEvent
from cloister.model.phase import Phase
from cloister.model.task import Outcome, Verdict
from cloister.queues.embedded import EmbeddedQueue
from cloister.stores.attempts import SqlLedger
from cloister.stores.database import Database
from cloister.stores.queue_depth import read_queue_depth
from cloister.stores.tasks import SqlTaskStore
from cloister.telemetry.exporters import open_meter
from cloister.telemetry.instruments import Instruments, open_instruments

pytestmark = pytest.mark.anyio


async def _numbers(instruments: Instruments) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    page, media_type = await instruments.page("")
    assert media_type.startswith("text/plain")
    families = text_string_to_metric_families(page.decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
        if not sample.name.endswith("_bucket")
    }


def _usage(source: str = "proxy", **changes: object) -> UsageEvent:
    told = {"input_tokens": 100, "cached_input_tokens": 60, "output_tokens": 7, "provider": "openai", "cost": 0.5}
    return UsageEvent(source=source, **{**told, **changes})  # type: ignore[arg-type]


async def test_the_numbers_are_what_passed_through_the_queue(new_task, tmp_path, database: Database) -> None:  # type: ignore[no-untyped-def]
    async with EmbeddedQueue.open(SqlLedger(database), tmp_path / "workers") as real:
        with open_instruments(None, lambda: read_queue_depth(database), SqlTaskStore(database)) as instruments:
            queue = instruments.watch_queue(real)
            waited = datetime.now(UTC) - timedelta(seconds=90)
            await queue.submit(new_task(attempts=3, accepted_at=waited))
            attempt = await queue.claim()
            assert attempt is not None
            printed = Output(stream="stdout", text="hello", command="agent", offset=5)
            await queue.record(attempt, Phase.PROVISION, SnapshotMissed(key="k", reason="r"), printed)
            await queue.record(attempt, Phase.SETUP, PhaseFinished(seconds=4.0))
            await queue.record(attempt, Phase.AGENT, _usage(), _usage(), _usage("agent"), SnapshotHit(key="k"))
            failed = ModelCallFailed(provider="openai", status=500, reason="r")
            check = CheckFinished(name="test", ok=False, status=1, reason="r", seconds=1.0, flaky=False, notes=())
            await queue.record(attempt, Phase.AGENT, failed, check)
            await queue.finish(attempt, Outcome(verdict=Verdict.FAILED, reason="r"))
            assert await queue.claim() is not None, "the second one runs, and the third waits"
            numbers = await _numbers(instruments)

    def of(name: str, **labels: str) -> float:
        return numbers[name, tuple(sorted(labels.items()))]

    assert of("cloister_turns_total") == 1
    assert of("cloister_attempts_total", verdict="failed") == 1
    assert of("cloister_attempt_duration_seconds_count", verdict="failed") == 1
    assert of("cloister_queue_wait_seconds_count") == 2
    assert of("cloister_queue_wait_seconds_sum") >= 180
    assert of("cloister_queue_attempts", state="queued") == of("cloister_queue_attempts", state="running") == 1
    assert of("cloister_phase_duration_seconds_sum", phase="setup") == 4.0
    assert of("cloister_snapshot_lookups_total", result="missed") == 1
    assert of("cloister_snapshot_lookups_total", result="hit") == 1
    assert of("cloister_checks_total", result="failed") == 1
    tokens = {kind: of("cloister_model_tokens_total", provider="openai", type=kind) for kind in ("input", "cached")}
    assert tokens == {"input": 80, "cached": 120}, "the agent's own word is not counted beside the proxy's"
    assert of("cloister_model_tokens_total", provider="openai", type="output") == 14
    assert of("cloister_model_cost_total", provider="openai") == 1.0
    assert of("cloister_model_failures_total", provider="openai") == 1


async def test_what_was_taken_over_waited_for_nobody(new_task, tmp_path, database: Database) -> None:  # type: ignore[no-untyped-def]
    workers = tmp_path / "workers"
    async with EmbeddedQueue.open(SqlLedger(database), workers) as first:
        await first.submit(new_task())
        assert await first.claim() is not None
    async with EmbeddedQueue.open(SqlLedger(database), workers) as second:
        with open_instruments(None, lambda: read_queue_depth(database), SqlTaskStore(database)) as instruments:
            assert await instruments.watch_queue(second).claim() is not None
            numbers = await _numbers(instruments)
    assert numbers["cloister_attempts_retries_total", ()] == 1
    assert ("cloister_queue_wait_seconds_count", ()) not in numbers


def test_each_meter_counts_for_itself() -> None:
    with open_meter(None) as one, open_meter(None) as other:
        one.meter.create_counter("cloister.once").add(1)
        assert b"cloister_once_total 1.0" in one.page("")[0]
        assert b"cloister_once_total" not in other.page("")[0]
