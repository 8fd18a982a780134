import io
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from cloister.cli.live import LiveView, PlainView
from cloister.model.event import (
    AttemptFinished,
    AttemptStarted,
    EgressAllowed,
    EgressRefused,
    Event,
    Output,
    PhaseFinished,
    PhaseStarted,
    RecordedEvent,
    SecretDelivered,
    SecretRemoved,
    ServiceEnded,
    ServiceReady,
    ServiceStarted,
    SnapshotHit,
    SnapshotSaved,
    TaskAccepted,
    TaskFinished,
)
from cloister.model.fairness import HeldBy
from cloister.model.phase import Phase
from cloister.model.task import AttemptId, TaskId, Verdict

START = datetime(2026, 3, 1, tzinfo=UTC)
ONE, TWO = AttemptId("t1-1"), AttemptId("t1-2")

COURSE: list[tuple[Phase | None, Event]] = [
    (None, TaskAccepted(commit="a" * 40, ref="main", environment="web", notes=("2 files are left alone",))),
    (None, AttemptStarted(retry=0)),
    (Phase.PROVISION, SnapshotHit(key="c" * 64)),
    (Phase.SETUP, PhaseStarted(network="full", secrets=("NPM_TOKEN",))),
    (Phase.SETUP, SecretDelivered(names=("NPM_TOKEN",))),
    (Phase.SETUP, Output(stream="stdout", text="add", command="setup", offset=3)),
    (Phase.SETUP, Output(stream="stderr", text="\x1b[31mwarn\n", command="setup", offset=12)),
    (Phase.SETUP, Output(stream="stdout", text="ed 1\nno end", command="setup", offset=24)),
    (Phase.SETUP, EgressAllowed(host="a.example", port=443, method="CONNECT", rule="full")),
    (Phase.SETUP, SecretRemoved(names=("NPM_TOKEN",))),
    (Phase.SETUP, SnapshotSaved(key="c" * 64)),
    (Phase.SETUP, PhaseFinished(seconds=2.34)),
    (Phase.AGENT, PhaseStarted(network="off")),
    (Phase.AGENT, ServiceStarted(service="db", command="agent", offset=16)),
    (Phase.AGENT, Output(stream="stdout", text="\x1b[1mlistening\n", command="service:db", offset=10)),
    (Phase.AGENT, ServiceReady(service="db", seconds=0.314, command="agent", offset=32)),
    (Phase.AGENT, ServiceEnded(service="db", status=137, command="services", offset=9)),
    (
        Phase.AGENT,
        EgressRefused(host="b\x1b[1m.example", port=80, method="GET", rule="off", hint="do this", command="curl"),
    ),
    (Phase.AGENT, PhaseFinished(seconds=1)),
    (None, AttemptFinished(verdict=Verdict.CANCELLED, reason="cancelled")),
    (None, AttemptFinished(verdict=Verdict.FAILED, reason="the agent exited with 3")),
    (None, TaskFinished(verdict=Verdict.FAILED)),
]

TOLD = """\
at main (aaaaaaaaaaaa), environment web
note: 2 files are left alone
  snapshot cccccccccccc: hit
setup: network full, secrets NPM_TOKEN
  secrets delivered: NPM_TOKEN
  | warn
  | added 1
  secrets removed: NPM_TOKEN
  snapshot cccccccccccc: saved
  | no end
setup took 2.3 s, 1 request let out
agent: network off, no secrets
  service db: started
  db | listening
  service db: ready after 0.31 s
  service db: its command ended with status 137
  refused: GET b.example:80: off (asked by curl)
           do this
agent took 1.0 s
cancelled
failed: the agent exited with 3
"""


def recorded(seq: int, phase: Phase | None, event: Event, attempt: AttemptId = ONE) -> RecordedEvent:
    at = START + timedelta(seconds=seq)
    return RecordedEvent(seq=seq, at=at, task=TaskId("t1"), attempt=attempt, phase=phase, event=event)


def test_a_course_is_told_line_by_line() -> None:
    file = io.StringIO()
    view = PlainView(Console(file=file, width=40), {})
    for seq, (phase, event) in enumerate(COURSE, 1):
        view.show(recorded(seq, phase, event))
    assert file.getvalue() == TOLD


def test_attempts_at_once_are_told_apart() -> None:
    file = io.StringIO()
    view = PlainView(Console(file=file), {ONE: "[1] ", TWO: "[2] "})
    for attempt, text in ((ONE, "a"), (TWO, "b"), (ONE, "a\n"), (TWO, "b\n")):
        view.show(recorded(1, Phase.AGENT, Output(stream="stdout", text=text, command="agent", offset=1), attempt))
    assert file.getvalue() == "[1]   | aa\n[2]   | bb\n"


@pytest.fixture
def screen() -> io.StringIO:
    return io.StringIO()


def live_view(screen: io.StringIO, seconds: float) -> LiveView:
    console = Console(file=screen, force_terminal=True, width=100, markup=False, highlight=False)
    return LiveView(console, {ONE: "[1] ", TWO: "[2] "}, lambda: START + timedelta(seconds=seconds))


def test_the_phase_line_counts_seconds(screen: io.StringIO) -> None:
    with live_view(screen, 13.5) as view:
        view.show(recorded(1, Phase.SETUP, PhaseStarted(network="full", secrets=("NPM_TOKEN",))))
    assert "  12.5 s  setup: network full, secrets NPM_TOKEN" in screen.getvalue()


def test_every_running_attempt_has_its_phase_line_until_the_phase_is_over(screen: io.StringIO) -> None:
    with live_view(screen, 9) as view:
        view.show(recorded(1, Phase.SETUP, PhaseStarted(network="full")))
        view.show(recorded(2, Phase.AGENT, PhaseStarted(network="off"), TWO))
        both = screen.getvalue()
        view.show(recorded(3, Phase.SETUP, PhaseFinished(seconds=2)))
        screen.truncate(0)
        view.tick()
        one = screen.getvalue()
    assert "[1]    8.0 s  setup" in both
    assert "[2]    7.0 s  agent" in both
    assert "[1]" not in one
    assert "[2]    7.0 s  agent" in one


def test_the_place_of_what_waits_is_shown_until_it_starts(screen: io.StringIO) -> None:
    with live_view(screen, 5.0) as view:
        view.wait(3)
        assert "waiting: place 3 in the queue" in screen.getvalue()
        screen.truncate(screen.seek(0))
        view.wait(None)
        assert "place" not in screen.getvalue()


def test_a_place_is_printed_when_it_is_news() -> None:
    file = io.StringIO()
    view = PlainView(Console(file=file, width=200), {})
    for place, held_by in ((3, None), (3, None), (1, None), (1, HeldBy.USER), (None, None)):
        view.wait(place, held_by)
    assert file.getvalue().split("\n") == [
        "waiting: place 3 in the queue",
        "waiting: place 1 in the queue",
        "waiting: place 1 in the queue; as many attempts of its user run as running_per_user allows",
        "",
    ]
