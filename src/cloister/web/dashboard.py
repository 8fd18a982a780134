"""The dashboard: numbers of a day, a week, a month or a quarter, as pictures and as tables."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, Response

from cloister.api.caller import Viewer
from cloister.api.front import FrontDoor
from cloister.model.statistics import MOST_REQUESTS, START_BOUNDS, Statistics
from cloister.model.task import TaskState, Verdict
from cloister.web.charts import Bar, columns, rows
from cloister.web.page import PageRoute, duration, render

OUTCOMES = (*Verdict, TaskState.RUNNING, TaskState.QUEUED)
"""In the order in which they are drawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A stretch of time up to now, and how it is parted."""

    words: str
    parts: int
    part: timedelta
    form: str
    """Of the beginning of a part."""
    every: int
    """How often one is named below the picture."""


SPANS = {
    "day": Span(words="24 hours", parts=24, part=timedelta(hours=1), form="%H:00", every=3),
    "week": Span(words="7 days", parts=7, part=timedelta(days=1), form="%a %d", every=1),
    "month": Span(words="30 days", parts=30, part=timedelta(days=1), form="%d %b", every=5),
    "quarter": Span(words="13 weeks", parts=13, part=timedelta(weeks=1), form="%d %b", every=2),
}

router = APIRouter(
    tags=["statistics"], route_class=PageRoute, include_in_schema=False, default_response_class=HTMLResponse
)


@router.get("/dashboard")
async def show(
    request: Request,
    intake: FrontDoor,
    _: Viewer,
    span: Annotated[Literal["day", "week", "month", "quarter"], Query()] = "week",
) -> Response:
    """Show the numbers of the time up to now."""
    chosen = SPANS[span]
    until = _next_whole(datetime.now(UTC), chosen.part)
    found = await intake.statistics(until - chosen.parts * chosen.part, until, parts=chosen.parts)
    outcomes, starts, hosts = _outcomes(found, chosen), _starts(found), _hosts(found)
    return render(
        request,
        "dashboard.html",
        found=found,
        span=span,
        spans=SPANS,
        most=MOST_REQUESTS,
        kinds=[kind for kind in OUTCOMES if any(bar.parts[kind] for bar in outcomes)],
        outcomes=outcomes,
        starts=starts,
        hosts=hosts,
        outcomes_picture=columns("outcomes", f"Tasks of the last {chosen.words}", outcomes, every=chosen.every),
        starts_picture=columns("starts", "How soon agents started", starts, every=2),
        hosts_picture=rows("hosts", "Requests by host", hosts),
    )


def _next_whole(now: datetime, part: timedelta) -> datetime:
    """Return the end of the hour or day that it is."""
    hours = now.replace(minute=0, second=0, microsecond=0)
    return hours + part if part < timedelta(days=1) else hours.replace(hour=0) + timedelta(days=1)


def _outcomes(found: Statistics, span: Span) -> list[Bar]:
    return [
        Bar(label=one.at.strftime(span.form), parts={kind: one.counts.get(kind, 0) for kind in OUTCOMES})
        for one in found.outcomes
    ]


def _starts(found: Statistics) -> list[Bar]:
    labels = [duration(bound) for bound in START_BOUNDS]
    labels = [label.replace(".0 s", " s").replace(" min 0 s", " min") for label in labels] + ["longer"]
    return [Bar(label=label, parts={"started": count}) for label, count in zip(labels, found.starts, strict=True)]


def _hosts(found: Statistics) -> list[Bar]:
    return [Bar(label=one.host, parts={"let-out": one.allowed, "refused": one.refused}) for one in found.hosts]
