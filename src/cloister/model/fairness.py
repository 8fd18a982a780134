"""Which attempt starts next: users take turns, priorities go first, and nobody waits for ever. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

OWNER = "owner"
"""Who asks at the state directory's socket, or inside a command."""


class Priority(StrEnum):
    """How much a task hurries."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"


_FIRST_TO_LAST = (Priority.HIGH, Priority.NORMAL, Priority.LOW)

PATIENCE = {Priority.HIGH: 0, Priority.NORMAL: 4, Priority.LOW: 16}
"""How many starts of higher priority a waiting attempt sees at most, before one of its own priority is due."""

MOST_PASSED = 4
"""How often every other lane of its priority may start before a lane that waits, whatever its user runs already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningLimits:
    """How many attempts run at once, on all workers of an installation; None is as many as there are slots."""

    together: int | None = None
    per_user: int | None = None
    per_environment: int | None = None


NO_LIMITS = RunningLimits()


class HeldBy(StrEnum):
    """The limit that holds back what waits."""

    SERVER = "server"
    """As many attempts run as may run together."""
    USER = "user"
    """As many of its user's run as may."""
    ENVIRONMENT = "environment"
    """As many of its environment's run as may."""


def held_to_text(held_by: HeldBy) -> str:
    """Say what holds back what waits, and which setting says so."""
    match held_by:
        case HeldBy.SERVER:
            return "as many attempts run as running_together allows"
        case HeldBy.USER:
            return "as many attempts of its user run as running_per_user allows"
        case HeldBy.ENVIRONMENT:
            return "as many attempts of its environment run as running_per_environment allows"


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """How many attempts run."""

    by_user: Mapping[str, int] = field(default_factory=dict)
    by_environment: Mapping[str, int] = field(default_factory=dict)

    def full_environments(self, limits: RunningLimits) -> frozenset[str]:
        """Return those of which none more may start."""
        most = limits.per_environment
        return frozenset(name for name, count in self.by_environment.items() if most is not None and count >= most)

    def is_full(self, limits: RunningLimits) -> bool:
        """Whether none more may start at all."""
        return limits.together is not None and sum(self.by_user.values()) >= limits.together

    def is_full_for(self, user: str, limits: RunningLimits) -> bool:
        """Whether none more of that user may start."""
        return limits.per_user is not None and self.by_user.get(user, 0) >= limits.per_user

    def held_by(self, user: str, environment: str, limits: RunningLimits) -> HeldBy | None:
        """Return the widest limit that lets none more of that user in that environment start; None when none does."""
        if self.is_full(limits):
            return HeldBy.SERVER
        if self.is_full_for(user, limits):
            return HeldBy.USER
        return HeldBy.ENVIRONMENT if environment in self.full_environments(limits) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """How an attempt waits."""

    place: int
    """See `place_in_queue`."""
    held_by: HeldBy | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """The attempts of one user and one priority; among themselves they start in the order of their acceptance."""

    user: str
    priority: Priority
    served: int = 0
    """Number of the start, counted over all lanes, that was this lane's last; 0 when it had none."""
    oldest: int | None = None
    """Position of the oldest attempt that waits and whose environment is not full; None when there is none."""
    waiting: int = 0
    """How many wait, where that was counted."""


def choose_lane(lanes: Sequence[Lane], running: Running, limits: RunningLimits) -> Lane | None:
    """Return the lane whose oldest attempt starts next; None when none may. `lanes` are all there are, also empty ones.

    Starts are counted and not timed, so that no clock can favour anybody.
    """
    if running.is_full(limits):
        return None
    ready = [lane for lane in lanes if lane.oldest is not None and not running.is_full_for(lane.user, limits)]
    if not ready:
        return None
    starts = max(lane.served for lane in lanes)
    priority = _due_priority(ready, lanes, starts)
    rivals = [lane for lane in ready if lane.priority is priority]
    passed = [lane for lane in rivals if starts - lane.served >= MOST_PASSED * len(rivals)]
    if passed:
        return min(passed, key=lambda lane: (lane.served, lane.oldest))
    return min(rivals, key=lambda lane: (running.by_user.get(lane.user, 0), _last_start(lane.user, lanes), lane.oldest))


def _due_priority(ready: Sequence[Lane], lanes: Sequence[Lane], starts: int) -> Priority:
    """Return the highest that waits, or one that higher ones were preferred to for long enough."""
    waiting = {lane.priority for lane in ready}
    for priority in reversed(_FIRST_TO_LAST):
        last = max((lane.served for lane in lanes if lane.priority is priority), default=0)
        if priority in waiting and starts - last >= PATIENCE[priority] > 0:
            return priority
    return next(priority for priority in _FIRST_TO_LAST if priority in waiting)


def _last_start(user: str, lanes: Sequence[Lane]) -> int:
    return max(lane.served for lane in lanes if lane.user == user)


def place_in_queue(lane: Lane, number: int, lanes: Sequence[Lane], running: Running) -> int:
    """Return about the how-manieth of all that wait an attempt is to start: the `number`th (from 1) of its lane.

    It is as if nothing else came, none of what runs ended first, and limits held nobody back.
    """
    runs = running.by_user.get(lane.user, 0)
    own = number
    for other in lanes:
        if other.priority is lane.priority and other.user != lane.user:
            others = running.by_user.get(other.user, 0)
            # Who runs less catches up first; from then on both take turns, and who waited longer begins.
            begins = (-others, *_rank(other, lanes)) < (-runs, *_rank(lane, lanes))
            own += min(max(runs + number - 1 - others + begins, 0), other.waiting)
    higher = sum(other.waiting for other in lanes if _is_higher(other.priority, lane.priority))
    place = own + min(higher, own * PATIENCE[lane.priority])
    for priority in _FIRST_TO_LAST:
        if _is_higher(lane.priority, priority):
            waiting = sum(other.waiting for other in lanes if other.priority is priority)
            place += min(waiting, (place - 1) // PATIENCE[priority])
    return place


def _rank(lane: Lane, lanes: Sequence[Lane]) -> tuple[int, int]:
    return _last_start(lane.user, lanes), lane.oldest or 0


def _is_higher(priority: Priority, other: Priority) -> bool:
    return _FIRST_TO_LAST.index(priority) < _FIRST_TO_LAST.index(other)
