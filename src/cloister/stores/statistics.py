"""Numbers of a stretch of time, read by indexes of times, and never of more rows than are counted."""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from statistics import median
from typing import Any

from sqlalchemy import Connection, Float, Integer, Row, Select, Text, func, literal_column, select

from cloister.model import statistics as model
from cloister.model.statistics import AgentUse, HostCount, OutcomeCount, Statistics
from cloister.model.task import TaskState, Verdict
from cloister.stores.schema import ATTEMPTS, EVENTS, TASKS

_TASK, _ATTEMPT, _EVENT = TASKS.c, ATTEMPTS.c, EVENTS.c


def read_statistics(connection: Connection, since: datetime, until: datetime, parts: int) -> Statistics:
    """Count what was accepted and asked from `since` on and before `until`, in so many parts."""
    tasks = connection.execute(_tasks(since, until)).all()
    attempts = connection.execute(_attempts(since, until)).all()
    starts = sorted(row.start for row in attempts if row.start is not None)
    hosts, requests = _hosts(connection, since, until)
    hits, misses = (_count(connection, name, since, until) for name in ("snapshot_hit", "snapshot_missed"))
    return Statistics(
        since=since,
        until=until,
        tasks=len(tasks),
        is_cut=len(tasks) == model.MOST_TASKS or requests >= model.MOST_REQUESTS,
        outcomes=_outcomes(tasks, since, until, parts),
        starts=_groups(starts),
        median_start_seconds=median(starts) if starts else None,
        cache_hits=hits,
        cache_misses=misses,
        hosts=hosts,
        agents=_agents(attempts),
    )


def _tasks(since: datetime, until: datetime) -> Select[Any]:
    chosen = select(_TASK.accepted_at, _TASK.state, _TASK.verdict)
    chosen = chosen.where(_TASK.accepted_at >= since, _TASK.accepted_at < until)
    return chosen.order_by(_TASK.accepted_at.desc()).limit(model.MOST_TASKS)


def _attempts(since: datetime, until: datetime) -> Select[Any]:
    """Of the same tasks."""
    agent = func.json_extract(_TASK.document, "$.agent", type_=Text)
    of = select(_TASK.id, agent.label("agent")).where(_TASK.accepted_at >= since, _TASK.accepted_at < until)
    tasks = of.order_by(_TASK.accepted_at.desc()).limit(model.MOST_TASKS).subquery()

    def found(path: str, kind: type[Any]) -> Any:
        return func.json_extract(_ATTEMPT.outcome, f"$.{path}", type_=kind)

    return (
        select(
            tasks.c.agent,
            _ATTEMPT.verdict,
            found("accepted_to_agent_seconds", Float).label("start"),
            found("usage.calls", Integer).label("calls"),
            found("usage.usage.input_tokens", Integer).label("input"),
            found("usage.usage.output_tokens", Integer).label("output"),
            found("usage.cost", Float).label("cost"),
        )
        .join(tasks, tasks.c.id == _ATTEMPT.task)
        .where(_ATTEMPT.outcome.is_not(None))
        .limit(4 * model.MOST_TASKS)
    )


def _of_kind(name: str, since: datetime, until: datetime, *columns: Any) -> Select[Any]:
    """Return the newest events of a kind, whose name is written out as in the index of that kind alone."""
    own = (_EVENT.name == literal_column(f"'{name}'"), _EVENT.at >= since, _EVENT.at < until)
    return select(*columns).where(*own).order_by(_EVENT.at.desc()).limit(model.MOST_REQUESTS)


def _count(connection: Connection, name: str, since: datetime, until: datetime) -> int:
    chosen = _of_kind(name, since, until, _EVENT.seq).subquery()
    return connection.execute(select(func.count()).select_from(chosen)).scalar_one()


def _hosts(connection: Connection, since: datetime, until: datetime) -> tuple[tuple[HostCount, ...], int]:
    """Return the hosts that were asked most, and how many requests of the more frequent kind were counted."""
    counts: dict[str, Counter[str]] = {}
    for name in ("egress_allowed", "egress_refused"):
        host = func.json_extract(_EVENT.fields, "$.host", type_=Text).label("host")
        chosen = _of_kind(name, since, until, host).subquery()
        grouped = select(chosen.c.host, func.count().label("requests")).group_by(chosen.c.host)
        counts[name] = Counter({row.host: row.requests for row in connection.execute(grouped)})
    allowed, refused = counts["egress_allowed"], counts["egress_refused"]
    most = (allowed + refused).most_common(model.MOST_HOSTS)
    found = tuple(HostCount(host=host, allowed=allowed[host], refused=refused[host]) for host, _ in most)
    return found, max(allowed.total(), refused.total())


def _outcomes(tasks: Sequence[Row[Any]], since: datetime, until: datetime, parts: int) -> tuple[OutcomeCount, ...]:
    part = (until - since) / parts
    counts: list[Counter[str]] = [Counter() for _ in range(parts)]
    for row in tasks:
        number = min(parts - 1, int((row.accepted_at - since) / part))
        counts[number][row.verdict if row.state == TaskState.FINISHED else row.state] += 1
    return tuple(OutcomeCount(at=since + number * part, counts=dict(one)) for number, one in enumerate(counts))


def _groups(starts: Iterable[float]) -> tuple[int, ...]:
    counts = Counter(bisect_left(model.START_BOUNDS, start) for start in starts)
    return tuple(counts[number] for number in range(len(model.START_BOUNDS) + 1))


def _agents(attempts: Sequence[Row[Any]]) -> tuple[AgentUse, ...]:
    by_agent = defaultdict(list)
    for row in attempts:
        by_agent[row.agent].append(row)
    return tuple(_use(agent, rows) for agent, rows in sorted(by_agent.items()))


def _use(agent: str, rows: Sequence[Row[Any]]) -> AgentUse:
    called = [row for row in rows if row.calls]
    is_known = all(row.cost is not None for row in called)
    return AgentUse(
        agent=agent,
        attempts=len(rows),
        succeeded=sum(row.verdict == Verdict.SUCCEEDED for row in rows),
        input_tokens=sum(row.input or 0 for row in called),
        output_tokens=sum(row.output or 0 for row in called),
        cost=sum(row.cost for row in called) if is_known else None,
    )
