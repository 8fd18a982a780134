"""When a schedule is due: cron expressions, in the time of a place, summer time included."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from cloister.errors import UsageError

_FIELDS = 5
_LONGEST = 200


def zone_of(name: str) -> ZoneInfo:
    """Return a zone by IANA's name. UsageError when there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise UsageError(
            f"there is no time zone {name!r}", hint="give IANA's name of it, such as Europe/Berlin, or UTC"
        ) from error


def next_after(cron: str, zone: ZoneInfo, after: datetime) -> datetime:
    """Return the first time after that one at which the expression is due, in UTC. UsageError for what is never due.

    As Debian's cron: a time that summer time leaves out comes when the clock has been put forward, and one that it
    repeats comes once, unless the expression has `*` for the hour or the minute.
    """
    if len(cron) > _LONGEST or len(cron.split()) != _FIELDS:
        raise UsageError(
            f"{cron[:_LONGEST]!r} is no cron expression of five fields",
            hint="minute, hour, day of month, month, day of week, such as `30 6 * * MON-FRI`",
        )
    try:
        # In the hour that summer time repeats, what was due in its first run is told again.
        found = next(due for due in CronSim(cron, after.astimezone(zone)) if due.astimezone(UTC) > after)
    except CronSimError as error:
        raise UsageError(f"{cron!r} is no cron expression: {str(error).lower()}") from error
    except StopIteration:
        raise UsageError(f"{cron!r} is never due") from None
    return found.astimezone(UTC)


def latest_between(
    cron: str, zone: ZoneInfo, first: datetime, now: datetime, *, most: int = 1000
) -> tuple[datetime, int]:
    """Return the last time that was due until now, from `first` on, and how many were before it; counted up to `most`.

    `first` is due itself, and not after now.
    """
    latest, passed = first, 0
    while passed < most and (following := next_after(cron, zone, latest)) <= now:
        latest, passed = following, passed + 1
    if passed < most:
        return latest, passed
    # So long ago that counting takes longer than it is worth: the last one is looked for from behind.
    return next(t.astimezone(UTC) for t in CronSim(cron, now.astimezone(zone), reverse=True)), passed
