"""Whoever waits starts, whatever others ask for; and users get the same of what there is."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister.model.fairness import (
    MOST_PASSED,
    PATIENCE,
    Lane,
    Priority,
    Running,
    RunningLimits,
    choose_lane,
    place_in_queue,
)

USERS = "abc"
NO_LIMITS = RunningLimits()


@dataclass(frozen=True, slots=True)
class Asked:
    position: int
    user: str
    priority: Priority
    environment: str


@dataclass(slots=True)
class World:
    """A queue in memory around the choice."""

    limits: RunningLimits = NO_LIMITS
    waiting: list[Asked] = field(default_factory=list)
    running: list[Asked] = field(default_factory=list)
    served: dict[tuple[str, Priority], int] = field(default_factory=dict)
    positions: int = 0
    starts: int = 0

    def ask(self, user: str, priority: Priority = Priority.NORMAL, environment: str = "x") -> Asked:
        self.positions += 1
        asked = Asked(self.positions, user, priority, environment)
        self.waiting.append(asked)
        self.served.setdefault((user, priority), 0)
        return asked

    def now(self) -> Running:
        return Running(
            by_user=Counter(one.user for one in self.running),
            by_environment=Counter(one.environment for one in self.running),
        )

    def lanes(self) -> list[Lane]:
        full = self.now().full_environments(self.limits)
        lanes = []
        for (user, priority), served in self.served.items():
            own = [one for one in self.waiting if (one.user, one.priority) == (user, priority)]
            able = [one.position for one in own if one.environment not in full]
            lanes.append(
                Lane(user=user, priority=priority, served=served, oldest=min(able, default=None), waiting=len(own))
            )
        return lanes

    def start(self) -> Asked | None:
        lane = choose_lane(self.lanes(), self.now(), self.limits)
        if lane is None:
            return None
        [asked] = [one for one in self.waiting if one.position == lane.oldest]
        self.waiting.remove(asked)
        self.running.append(asked)
        self.starts += 1
        self.served[asked.user, asked.priority] = self.starts
        return asked

    def end(self, asked: Asked) -> None:
        self.running.remove(asked)


def _starts(world: World, count: int) -> list[Asked]:
    """Let that many start, each of which ends at once."""
    started = []
    for _ in range(count):
        one = world.start()
        assert one is not None
        world.end(one)
        started.append(one)
    return started


def test_nothing_starts_where_nothing_waits() -> None:
    assert choose_lane([], Running(), NO_LIMITS) is None
    assert choose_lane([Lane(user="a", priority=Priority.HIGH, served=3)], Running(), NO_LIMITS) is None


@pytest.mark.parametrize(
    ("limits", "started"),
    [
        (RunningLimits(together=2), "ab"),
        (RunningLimits(together=3, per_user=2), "aba"),
        (RunningLimits(per_user=1), "ab"),
        (RunningLimits(per_environment=1), "ab"),
        (NO_LIMITS, "abaa"),
    ],
)
def test_no_more_run_than_may(limits: RunningLimits, started: str) -> None:
    world = World(limits)
    for environment in "xxx":
        world.ask("a", environment=environment)
    world.ask("b", environment="y")
    found = ""
    while one := world.start():
        found += one.user
    assert found == started


def test_users_take_turns_however_much_one_asks_for() -> None:
    world = World()
    for _ in range(100):
        world.ask("a")
    _starts(world, 10)
    for _ in range(3):
        world.ask("b")
    assert [one.user for one in _starts(world, 6)] == list("bababa")


def test_who_runs_less_goes_first() -> None:
    world = World()
    for user in "aaaaab":
        world.ask(user)
    assert [one.user for one in (world.start(), world.start(), world.start()) if one] == list("aba")
    world.ask("b")
    one = world.start()
    assert one is not None and one.user == "b", "who has two of them running waits for who has one"


def test_a_higher_priority_goes_first_but_not_for_ever() -> None:
    world = World()
    for priority in (Priority.LOW, Priority.NORMAL, Priority.HIGH):
        for _ in range(200):
            world.ask("a", priority)
    _starts(world, 40)
    count = Counter(one.priority for one in _starts(world, 85))
    assert count[Priority.HIGH] > 3 * count[Priority.NORMAL] > 3 * count[Priority.LOW] > 0


LANES = [(user, priority) for user in USERS for priority in Priority]


@given(
    watched=st.sampled_from(LANES),
    rivals=st.sets(st.sampled_from(LANES)),
    before=st.integers(0, 3),
    endless=st.booleans(),
    ends=st.data(),
)
def test_whoever_waits_starts_after_a_bounded_number_of_others(
    watched: tuple[str, Priority],
    rivals: set[tuple[str, Priority]],
    before: int,
    endless: bool,
    ends: st.DataObject,
) -> None:
    """Although rivals ask for more whenever one of theirs has started, and whatever ends when."""
    world = World(RunningLimits(together=3))
    user, priority = watched
    for _ in range(endless):
        world.ask(user, Priority.HIGH)
    stays = world.start()
    for _ in range(before):
        world.ask(user, priority)
    asked = world.ask(user, priority)
    most = (before + 1) * (MOST_PASSED + 1) * len(USERS) * (PATIENCE[priority] + 2)
    for _ in range(most):
        for rival in rivals - {watched}:
            if not any((one.user, one.priority) == rival for one in world.waiting):
                world.ask(*rival)
        if world.start() is asked:
            return
        able = [one for one in world.running if one is not stays]
        if len(able) == 3 - endless:
            world.end(able[ends.draw(st.integers(0, len(able) - 1))])
    raise AssertionError(f"{asked} did not start after {most} others")


@given(st.lists(st.sampled_from(USERS), min_size=1, max_size=30))
def test_places_are_those_of_the_order_in_which_they_start(users: Sequence[str]) -> None:
    world = World()
    for user in users:
        world.ask(user)
    lanes, running = world.lanes(), world.now()
    seen: Counter[str] = Counter()
    expected = {}
    for asked in list(world.waiting):
        seen[asked.user] += 1
        [lane] = [lane for lane in lanes if lane.user == asked.user]
        expected[asked.position] = place_in_queue(lane, seen[asked.user], lanes, running)
    assert sorted(expected.values()) == list(range(1, len(users) + 1))
    order = []
    while one := world.start():
        order.append(one.position)
    if len(set(users)) * MOST_PASSED > len(users):
        assert order == sorted(expected, key=expected.__getitem__)


@given(st.lists(st.tuples(st.sampled_from(USERS), st.sampled_from(list(Priority))), min_size=1, max_size=30))
def test_a_place_is_one_of_those_there_are(asks: Sequence[tuple[str, Priority]]) -> None:
    world = World()
    for user, priority in asks:
        world.ask(user, priority)
    lanes = world.lanes()
    for lane in lanes:
        places = [place_in_queue(lane, number, lanes, world.now()) for number in range(1, lane.waiting + 1)]
        assert all(1 <= place <= len(asks) for place in places)
        assert places == sorted(places)
