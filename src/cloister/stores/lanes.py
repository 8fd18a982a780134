"""The table of lanes: who waits for a start, who was served when, and how many run."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, Integer, Text, and_, bindparam, func, insert, select, update

from cloister.model.fairness import (
    NO_LIMITS,
    Lane,
    Priority,
    Running,
    RunningLimits,
    Waiting,
    choose_lane,
    place_in_queue,
)
from cloister.model.task import TaskState
from cloister.stores.schema import ATTEMPTS, LANES

_WAITS = ATTEMPTS.c.state == TaskState.QUEUED
_USER, _PRIORITY = bindparam("user", type_=Text), bindparam("of_priority", type_=Text)
_THIS = and_(LANES.c.asked_by == _USER, LANES.c.priority == _PRIORITY)
# Made once: on the way of every acceptance and start, making them takes as long as carrying them out.
_MORE = update(LANES).where(_THIS).values(waiting=LANES.c.waiting + bindparam("count", type_=Integer))
_START = (
    update(LANES)
    .where(_THIS)
    .values(served=select(func.max(LANES.c.served)).scalar_subquery() + 1, waiting=LANES.c.waiting - 1)
)
_LARGEST = 2**63 - 1
"""Position that nobody has."""
_BETWEEN = select(func.count()).where(
    and_(_WAITS, ATTEMPTS.c.asked_by == _USER, ATTEMPTS.c.priority == _PRIORITY),
    ATTEMPTS.c.position > bindparam("older", type_=Integer),
    ATTEMPTS.c.position <= bindparam("newer", type_=Integer),
)
_OF_LANE = and_(_WAITS, ATTEMPTS.c.asked_by == LANES.c.asked_by, ATTEMPTS.c.priority == LANES.c.priority)

# One search in an index for each lane: however many attempts wait, few of their rows are read.
_OLDEST = select(ATTEMPTS.c.position).where(_OF_LANE).order_by(ATTEMPTS.c.position).limit(1)
_LANES = select(LANES, _OLDEST.scalar_subquery().label("oldest"))
_RUNNING = (
    select(ATTEMPTS.c.asked_by, ATTEMPTS.c.environment, func.count().label("together"))
    .where(ATTEMPTS.c.state == TaskState.RUNNING)
    .group_by(ATTEMPTS.c.asked_by, ATTEMPTS.c.environment)
)


def join_lane(connection: Connection, user: str, priority: Priority, count: int) -> None:
    """Count so many more attempts that wait in this lane, which is made when it is new; fewer, when negative."""
    lane = {"user": user, "of_priority": priority, "count": count}
    if connection.execute(_MORE, lane).rowcount == 0:
        connection.execute(insert(LANES), {"asked_by": user, "priority": str(priority), "served": 0, "waiting": count})


def choose_waiting(connection: Connection, limits: RunningLimits, task: str | None = None) -> int | None:
    """Return the position of the attempt (of `task`, when given) whose turn it is; None when none may start."""
    lanes = _read_lanes(connection, frozenset(), task=task)
    waiting = [lane for lane in lanes if lane.oldest is not None]
    if not waiting or (len(waiting) == 1 and limits == NO_LIMITS):
        return waiting[0].oldest if waiting else None  # on the path to an agent's first instruction
    running = _read_running(connection)
    full = running.full_environments(limits)
    if full:
        lanes = _read_lanes(connection, full, task=task)
    lane = choose_lane(lanes, running, limits)
    return lane.oldest if lane else None


def note_start(connection: Connection, user: str, priority: Priority) -> None:
    """Write down that an attempt which waited in this lane was started, as the last of all by now."""
    connection.execute(_START, {"user": user, "of_priority": priority})


def read_waiting(connection: Connection, attempts: Iterable[Any], limits: RunningLimits) -> Mapping[str, Waiting]:
    """Return how those rows of attempts wait that do, by id."""
    rows = sorted((row for row in attempts if row.state == TaskState.QUEUED), key=lambda row: -row.position)
    if not rows:
        return {}
    lanes = {(lane.user, lane.priority): lane for lane in _read_lanes(connection, frozenset())}
    running = _read_running(connection)
    waiting: dict[str, Waiting] = {}
    behind: dict[tuple[str, Priority], tuple[int, int]] = dict.fromkeys(lanes, (_LARGEST, 0))
    for row in rows:  # from the newest on, which are asked for most: few wait behind those
        key = (row.asked_by, Priority(row.priority))
        newer, count = behind[key]
        between = {"user": row.asked_by, "of_priority": row.priority, "older": row.position, "newer": newer}
        count += connection.scalar(_BETWEEN, between) or 0
        behind[key] = (row.position, count)
        place = place_in_queue(lanes[key], lanes[key].waiting - count, list(lanes.values()), running)
        held_by = running.held_by(row.asked_by, row.environment, limits)
        waiting[row.id] = Waiting(place=place, held_by=held_by)
    return waiting


def _read_lanes(connection: Connection, full_environments: frozenset[str], *, task: str | None = None) -> list[Lane]:
    oldest, query = _OLDEST, _LANES
    if task is not None:
        oldest = oldest.where(ATTEMPTS.c.task == task)
    if full_environments:
        oldest = oldest.where(ATTEMPTS.c.environment.not_in(full_environments))
    if oldest is not _OLDEST:
        query = select(LANES, oldest.scalar_subquery().label("oldest"))
    return [
        Lane(
            user=row.asked_by,
            priority=Priority(row.priority),
            served=row.served,
            oldest=row.oldest,
            waiting=row.waiting,
        )
        for row in connection.execute(query)
    ]


def _read_running(connection: Connection) -> Running:
    by_user: Counter[str] = Counter()
    by_environment: Counter[str] = Counter()
    for row in connection.execute(_RUNNING):
        by_user[row.asked_by] += row.together
        by_environment[row.environment] += row.together
    return Running(by_user=by_user, by_environment=by_environment)
