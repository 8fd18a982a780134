"""Numbers of a stretch of time, each counted by the database from an index of times that holds all that it needs."""

import itertools
from collections import Counter
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Text, case, func, literal_column, select

from cloister.model import statistics as model
from cloister.model.statistics import AgentUse, HostCount, OutcomeCount, Statistics
from cloister.model.task import TaskState, Verdict
from cloister.stores.schema import EFFORTS, EVENTS, TASKS

_TASK, _EFFORT, _EVENT = TASKS.c, EFFORTS.c, EVENTS.c


def read_statistics(connection: Connection, since: datetime, until: datetime, parts: int) -> Statistics:
    """Count what was accepted and asked from `since` on and before `until`, in so many parts."""
    outcomes = _outcomes(connection, since, until, parts)
    starts = _starts(connection, since, until)
    hosts, requests = _hosts(connection, since, until)
    hits, misses = (_count(connection, name, since, until) for name in ("snapshot_hit", "snapshot_missed"))
    return Statistics(
        since=since,
        until=until,
        tasks=sum(sum(one.counts.values()) for one in outcomes),
        is_cut=requests >= model.MOST_REQUESTS,
        outcomes=outcomes,
        starts=starts,
        median_start_seconds=_median(connection, since, until, sum(starts)),
        cache_hits=hits,
        cache_misses=misses,
        hosts=hosts,
        agents=_agents(connection, since, until),
    )


def _outcomes(connection: Connection, since: datetime, until: datetime, parts: int) -> tuple[OutcomeCount, ...]:
    part = (until - since) / parts
    bounds = [*(since + number * part for number in range(parts)), until]
    found = []
    for begin, end in itertools.pairwise(bounds):
        within = (_TASK.accepted_at >= begin, _TASK.accepted_at < end)
        query = select(_TASK.state, _TASK.verdict, func.count().label("tasks")).where(*within)
        counts: Counter[str] = Counter()
        for row in connection.execute(query.group_by(_TASK.state, _TASK.verdict)):
            counts[row.verdict if row.state == TaskState.FINISHED else row.state] += row.tasks
        found.append(OutcomeCount(at=begin, counts=dict(counts)))
    return tuple(found)


def _efforts(since: datetime, until: datetime, *columns: ColumnElement[Any]) -> Select[Any]:
    return select(*columns).where(_EFFORT.accepted_at >= since, _EFFORT.accepted_at < until)


def _starts(connection: Connection, since: datetime, until: datetime) -> tuple[int, ...]:
    bounds = model.START_BOUNDS
    groups = [(_EFFORT.start_seconds <= bound, number) for number, bound in enumerate(bounds)]
    group = case(*groups, else_=len(bounds)).label("number")
    query = _efforts(since, until, group, func.count().label("attempts")).where(_EFFORT.start_seconds.is_not(None))
    counts = {row.number: row.attempts for row in connection.execute(query.group_by(group))}
    return tuple(counts.get(number, 0) for number in range(len(bounds) + 1))


def _median(connection: Connection, since: datetime, until: datetime, starts: int) -> float | None:
    """Return the middle one of so many starts, or what is between the two that are."""
    if not starts:
        return None
    query = _efforts(since, until, _EFFORT.start_seconds).where(_EFFORT.start_seconds.is_not(None))
    middle = query.order_by(_EFFORT.start_seconds).offset((starts - 1) // 2).limit(2 - starts % 2)
    found = connection.scalars(middle).all()
    return float(sum(found)) / len(found)


def _agents(connection: Connection, since: datetime, until: datetime) -> tuple[AgentUse, ...]:
    called = _EFFORT.calls > 0
    query = _efforts(
        since,
        until,
        _EFFORT.agent,
        func.count().label("attempts"),
        _sum(_EFFORT.verdict == Verdict.SUCCEEDED, 1).label("succeeded"),
        _sum(called, _EFFORT.input_tokens).label("input"),
        _sum(called, _EFFORT.output_tokens).label("output"),
        _sum(called, _EFFORT.cost).label("cost"),
        _sum(called & _EFFORT.cost.is_(None), 1).label("not_known"),
    )
    return tuple(
        AgentUse(
            agent=row.agent,
            attempts=row.attempts,
            succeeded=row.succeeded,
            input_tokens=row.input,
            output_tokens=row.output,
            cost=None if row.not_known else row.cost,
        )
        for row in connection.execute(query.group_by(_EFFORT.agent).order_by(_EFFORT.agent))
    )


def _sum(condition: ColumnElement[bool], value: object) -> ColumnElement[Any]:
    return func.coalesce(func.sum(case((condition, value))), 0)


def _of_kind(name: str, since: datetime, until: datetime, *columns: Any) -> Select[Any]:
    """Return the events of a kind, whose name is written out as in the index of that kind alone."""
    own = (_EVENT.name == literal_column(f"'{name}'"), _EVENT.at >= since, _EVENT.at < until)
    return select(*columns).where(*own)


def _count(connection: Connection, name: str, since: datetime, until: datetime) -> int:
    return int(connection.execute(_of_kind(name, since, until, func.count())).scalar_one())


def _hosts(connection: Connection, since: datetime, until: datetime) -> tuple[tuple[HostCount, ...], int]:
    """Return the hosts that were asked most, and how many requests of the more frequent kind were counted.

    A host stands in the event itself, so of these no more are read than the newest.
    """
    counts: dict[str, Counter[str]] = {}
    for name in ("egress_allowed", "egress_refused"):
        host = func.json_extract(_EVENT.fields, "$.host", type_=Text).label("host")
        newest = _of_kind(name, since, until, host).order_by(_EVENT.at.desc()).limit(model.MOST_REQUESTS)
        chosen = newest.subquery()
        grouped = select(chosen.c.host, func.count().label("requests")).group_by(chosen.c.host)
        counts[name] = Counter({row.host: row.requests for row in connection.execute(grouped)})
    allowed, refused = counts["egress_allowed"], counts["egress_refused"]
    most = (allowed + refused).most_common(model.MOST_HOSTS)
    found = tuple(HostCount(host=host, allowed=allowed[host], refused=refused[host]) for host, _ in most)
    return found, max(allowed.total(), refused.total())
