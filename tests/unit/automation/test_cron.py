"""Cron expressions in the time of a place, through both changes of the clock."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister.automation.cron import latest_between, next_after, zone_of
from cloister.errors import UsageError

BERLIN = zone_of("Europe/Berlin")  # 2026: forward at 02:00 on March 29th, back at 03:00 on October 25th
ADELAIDE = zone_of("Australia/Adelaide")  # half an hour beside the others, and the other way round


def times(cron: str, zone: str, after: str, count: int) -> list[str]:
    """The next times, as the clock on the wall shows them there."""
    where, at, found = zone_of(zone), datetime.fromisoformat(after), []
    for _ in range(count):
        at = next_after(cron, where, at)
        assert at.tzinfo is UTC
        found.append(at.astimezone(where).isoformat(timespec="minutes"))
    return found


@pytest.mark.parametrize(
    "cron",
    ["", "* * * *", "* * * * * *", "61 * * * *", "* * * * MONDAY", "@daily", "a b c d e", "*/0 * * * *", "* " * 200],
)
def test_what_is_no_expression_is_refused(cron: str) -> None:
    with pytest.raises(UsageError, match="no cron expression"):
        next_after(cron, BERLIN, datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize("cron", ["0 0 30 2 *", "0 0 31 4,6 *"])
def test_what_is_never_due_is_refused(cron: str) -> None:
    with pytest.raises(UsageError, match=r"is never due|bad day-of-month"):
        next_after(cron, BERLIN, datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize("name", ["", "Mars/Olympus", "../../etc/passwd", "/etc/localtime", "Europe", "\0"])
def test_what_is_no_zone_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="no time zone"):
        zone_of(name)


def test_a_time_that_is_left_out_comes_when_the_clock_was_put_forward() -> None:
    assert times("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00+00:00", 3) == [
        "2026-03-28T02:30+01:00",
        "2026-03-29T03:00+02:00",
        "2026-03-30T02:30+02:00",
    ]


def test_a_time_that_comes_twice_is_due_once() -> None:
    assert times("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00+00:00", 3) == [
        "2026-10-25T02:30+02:00",
        "2026-10-26T02:30+01:00",
        "2026-10-27T02:30+01:00",
    ]
    second_run_of_the_hour = "2026-10-25T01:10+00:00"  # 02:10 in winter time
    assert times("30 2 * * *", "Europe/Berlin", second_run_of_the_hour, 1) == ["2026-10-26T02:30+01:00"]


def test_what_is_due_all_day_is_due_in_every_hour_there_is() -> None:
    assert times("30 * * * *", "Europe/Berlin", "2026-03-29T00:00+00:00", 3) == [
        "2026-03-29T01:30+01:00",
        "2026-03-29T03:30+02:00",
        "2026-03-29T04:30+02:00",
    ]
    assert times("*/30 * * * *", "Europe/Berlin", "2026-10-25T00:00+00:00", 4) == [
        "2026-10-25T02:30+02:00",
        "2026-10-25T02:00+01:00",
        "2026-10-25T02:30+01:00",
        "2026-10-25T03:00+01:00",
    ]


def test_a_zone_is_its_own() -> None:
    assert times("0 9 * * MON", "Australia/Adelaide", "2026-04-03T00:00+00:00", 2) == [
        "2026-04-06T09:00+09:30",
        "2026-04-13T09:00+09:30",
    ]
    assert times("0 12 L 2 *", "UTC", "2026-01-01T00:00+00:00", 3) == [
        "2026-02-28T12:00+00:00",
        "2027-02-28T12:00+00:00",
        "2028-02-29T12:00+00:00",
    ]


@given(
    cron=st.sampled_from(["* * * * *", "30 2 * * *", "0 */6 * * *", "15 1-3 * * SUN", "0 0 1 * *"]),
    zone=st.sampled_from([BERLIN, ADELAIDE]),
    after=st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)),
)
def test_times_only_go_forward(cron: str, zone, after: datetime) -> None:  # type: ignore[no-untyped-def]
    at = [after.replace(tzinfo=UTC)]
    for _ in range(3):
        at.append(next_after(cron, zone, at[-1]))
    assert all(earlier < later for earlier, later in pairwise(at))


def test_the_last_of_those_that_passed_is_found() -> None:
    first = datetime(2026, 3, 1, 3, tzinfo=UTC)
    utc = zone_of("UTC")
    assert latest_between("0 3 * * *", utc, first, first) == (first, 0)
    assert latest_between("0 3 * * *", utc, first, first + timedelta(days=2, hours=5)) == (first + timedelta(days=2), 2)
    now = first + timedelta(days=30, seconds=30)
    assert latest_between("* * * * *", utc, first, now) == (first + timedelta(days=30), 1000), "nobody counts for ever"
