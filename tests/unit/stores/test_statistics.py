"""Numbers of tasks and requests: right, read by indexes, and bounded."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event

from cloister.model import statistics as model
from cloister.model.statistics import START_BOUNDS, AgentUse, HostCount, Statistics
from cloister.stores.database import Database
from cloister.stores.statistics import read_statistics
from cloister.stores.tasks import SqlTaskStore

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    async with Database.open(tmp_path / "cloister.db"):
        return tmp_path / "cloister.db"


@pytest.fixture
def rows(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path)) as connection:
        yield connection


def add_task(
    rows: sqlite3.Connection, name: str, at: datetime, verdict: str | None = "succeeded", **outcome: object
) -> None:
    moment, state = at.strftime("%Y-%m-%d %H:%M:%S.%f"), "finished" if verdict else "running"
    document = json.dumps({"agent": "codex" if name.startswith("c") else "command"})
    rows.execute(
        "INSERT INTO tasks (id, document, state, verdict, accepted_at, last_seq, archived) "
        "VALUES (?, ?, ?, ?, ?, 0, 0)",
        (name, document, state, verdict, moment),
    )
    rows.execute(
        "INSERT INTO attempts (id, task, turn, number, retry, state, cancel_requested, verdict, outcome) "
        "VALUES (?, ?, 1, 1, 0, ?, 0, ?, ?)",
        (f"{name}-1-1", name, state, verdict, json.dumps(outcome) if verdict else None),
    )
    if verdict:
        used: Any = outcome.get("usage") or {}
        tokens = used.get("usage", {})
        took = (outcome.get("accepted_to_agent_seconds"), used.get("calls"))
        spent = (tokens.get("input_tokens"), tokens.get("output_tokens"), used.get("cost"))
        own = (f"{name}-1-1", moment, json.loads(document)["agent"], verdict)
        rows.execute("INSERT INTO efforts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (*own, *took, *spent))


def add_event(rows: sqlite3.Connection, task: str, seq: int, at: datetime, name: str, **fields: object) -> None:
    values = (task, seq, at.strftime("%Y-%m-%d %H:%M:%S.%f"), name, json.dumps(fields))
    rows.execute("INSERT INTO events (task, seq, at, name, fields) VALUES (?, ?, ?, ?, ?)", values)


async def count(path: Path, since: datetime, until: datetime, parts: int) -> Statistics:
    async with Database.open(path) as database:
        return await SqlTaskStore(database).statistics(since, until, parts=parts)


async def test_what_was_within_the_time_is_counted(rows: sqlite3.Connection, path: Path) -> None:
    usage = {"calls": 2, "usage": {"input_tokens": 100, "output_tokens": 7}, "cost": 0.5}
    add_task(rows, "before", NOON - timedelta(microseconds=1))
    add_task(rows, "c1", NOON, accepted_to_agent_seconds=0.04, usage=usage)
    add_task(rows, "c2", NOON + DAY, "failed", accepted_to_agent_seconds=0.2, usage={**usage, "cost": None})
    add_task(rows, "x1", NOON + DAY, accepted_to_agent_seconds=999.0, usage=None)
    add_task(rows, "x2", NOON + 2 * DAY - timedelta(microseconds=1), None)
    add_task(rows, "after", NOON + 2 * DAY)
    for seq, (name, host) in enumerate(
        [("egress_allowed", "a.example")] * 2 + [("egress_refused", "a.example"), ("egress_refused", "<b>.example")]
    ):
        add_event(rows, "c1", seq, NOON, name, host=host)
    add_event(rows, "c1", 10, NOON - DAY, "egress_allowed", host="a.example")
    add_event(rows, "c1", 11, NOON, "snapshot_hit", key="k")
    add_event(rows, "c2", 11, NOON + DAY, "snapshot_missed", key="k", reason="r")
    rows.commit()
    found = await count(path, NOON, NOON + 2 * DAY, 2)
    assert (found.tasks, found.is_cut) == (4, False)
    assert [(one.at, dict(one.counts)) for one in found.outcomes] == [
        (NOON, {"succeeded": 1}),
        (NOON + DAY, {"failed": 1, "succeeded": 1, "running": 1}),
    ]
    assert (found.starts[0], found.starts[START_BOUNDS.index(0.2)], found.starts[-1], sum(found.starts)) == (1, 1, 1, 3)
    assert found.median_start_seconds == 0.2
    assert found.hosts == (
        HostCount(host="a.example", allowed=2, refused=1),
        HostCount(host="<b>.example", allowed=0, refused=1),
    )
    assert (found.cache_hits, found.cache_misses) == (1, 1)
    assert found.agents == (
        AgentUse(agent="codex", attempts=2, succeeded=1, input_tokens=200, output_tokens=14, cost=None),
        AgentUse(agent="command", attempts=1, succeeded=1, input_tokens=0, output_tokens=0, cost=0),
    )
    empty = await count(path, NOON + 9 * DAY, NOON + 10 * DAY, 3)
    assert (empty.tasks, empty.median_start_seconds, empty.hosts, len(empty.outcomes)) == (0, None, (), 3)


async def test_all_tasks_are_counted_and_of_too_many_requests_the_newest(
    rows: sqlite3.Connection, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "MOST_REQUESTS", 2)
    for number in range(5):
        add_task(rows, f"t{number}", NOON + number * timedelta(hours=1))
        add_event(rows, f"t{number}", 1, NOON + number * timedelta(hours=1), "egress_allowed", host=f"h{number}")
    rows.commit()
    found = await count(path, NOON, NOON + DAY, 24)
    assert (found.tasks, found.is_cut) == (5, True)
    assert [bool(one.counts) for one in found.outcomes[:6]] == [True, True, True, True, True, False]
    assert {host.host for host in found.hosts} == {"h3", "h4"}


async def test_times_are_found_by_indexes(path: Path) -> None:
    """Whatever it asks, no table is looked through: the planner says so of each query, with its parameters apart."""
    plans: list[list[str]] = []

    def look(connection: Connection) -> None:
        def explain(_: object, cursor: Any, statement: str, parameters: Any, *__: object) -> None:
            asked = cursor.connection.cursor().execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            plans.append([row[3] for row in asked])

        event.listen(connection, "before_cursor_execute", explain)
        read_statistics(connection, NOON - DAY, NOON + DAY, 1)

    async with Database.open(path) as database:
        await database.query(look)
    assert len(plans) == 7
    own = ("COVERING INDEX tasks_by_acceptance", "COVERING INDEX efforts_by_acceptance", "INDEX events_")
    for plan in plans:
        assert any(index in step for step in plan for index in own), plan
        assert not [
            step for step in plan if step.startswith("SCAN") and step.split()[1] in ("tasks", "events", "efforts")
        ]
