"""Who goes first in the queue in memory."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from cloister.model.cancellation import AT_ONCE, Cancellation
from cloister.model.fairness import OWNER, Lane, Priority, Running, place_in_queue
from cloister.model.task import Attempt, Outcome, TaskState

Served = Mapping[tuple[str, Priority], int]
"""By lane, when it was served last: a higher number is later."""


@dataclass(slots=True, kw_only=True)
class Entry:
    """An attempt of the queue in memory."""

    attempt: Attempt
    asked_by: str = OWNER
    state: TaskState = TaskState.QUEUED
    abandoned: bool = False
    cancelled: bool = False
    cancellation: Cancellation = AT_ONCE
    outcome: Outcome | None = None
    record: bytes | None = None

    @property
    def lane(self) -> tuple[str, Priority]:
        """Who asked, and how much it matters."""
        return self.asked_by, self.attempt.task.priority


def running_of(entries: Iterable[Entry]) -> Running:
    """Return what runs now."""
    running = [entry for entry in entries if entry.state is TaskState.RUNNING]
    return Running(
        by_user=Counter(entry.asked_by for entry in running),
        by_environment=Counter(entry.attempt.task.environment.name for entry in running),
    )


def lanes_of(able: Sequence[Entry], entries: Iterable[Entry], served: Served) -> Sequence[Lane]:
    """Return the lanes of those that may go on; `oldest` is a place among all entries."""
    places = {id(entry): place for place, entry in enumerate(entries)}
    lanes = []
    for lane, turn in served.items():
        waiting = [places[id(entry)] for entry in able if entry.state is TaskState.QUEUED and entry.lane == lane]
        user, priority = lane
        oldest = min(waiting, default=None)
        lanes.append(Lane(user=user, priority=priority, served=turn, oldest=oldest, waiting=len(waiting)))
    return lanes


def place_of(entry: Entry, entries: Collection[Entry], served: Served) -> int | None:
    """Return where in the queue an attempt is, from 1; None for one that does not wait."""
    if entry.state is not TaskState.QUEUED:
        return None
    lanes = lanes_of([*entries], entries, served)
    own = [one for one in entries if one.state is TaskState.QUEUED and one.lane == entry.lane]
    [lane] = [lane for lane in lanes if (lane.user, lane.priority) == entry.lane]
    return place_in_queue(lane, own.index(entry) + 1, lanes, running_of(entries))
