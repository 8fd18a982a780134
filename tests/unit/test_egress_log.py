from datetime import UTC, datetime

from cloister.egress_log import egress_entries
from cloister.model.event import EgressAllowed, EgressFinished, EgressRefused, Event, RecordedEvent
from cloister.model.phase import Phase
from cloister.model.task import AttemptId, TaskId


def recorded(*events: tuple[str, Event]) -> list[RecordedEvent]:
    at = datetime.now(UTC)
    return [
        RecordedEvent(seq=seq, at=at, task=TaskId("t"), attempt=AttemptId(attempt), phase=Phase.AGENT, event=event)
        for seq, (attempt, event) in enumerate(events, 1)
    ]


def allowed(flow: int) -> EgressAllowed:
    return EgressAllowed(host=f"{flow}.example.com", port=443, method="CONNECT", rule="full", flow=flow)


def finished(flow: int, sent: int) -> EgressFinished:
    return EgressFinished(flow=flow, sent_bytes=sent, received_bytes=2 * sent, seconds=0.5)


def test_an_end_belongs_to_the_flow_of_its_number_in_its_attempt() -> None:
    entries = egress_entries(
        recorded(("t-1", allowed(1)), ("t-2", allowed(1)), ("t-2", finished(1, 7)), ("t-1", finished(1, 5)))
    )
    assert [(entry.attempt, entry.sent_bytes, entry.received_bytes) for entry in entries] == [
        ("t-1", 5, 10),
        ("t-2", 7, 14),
    ]


def test_numbers_that_begin_anew_leave_what_was_cut_without_an_end() -> None:
    entries = egress_entries(recorded(("t-1", allowed(1)), ("t-1", allowed(1)), ("t-1", finished(1, 5))))
    assert [entry.sent_bytes for entry in entries] == [None, 5]


def test_a_refusal_has_its_hint_and_takes_no_end() -> None:
    refused = EgressRefused(host="a.b", port=80, method="GET", rule="no", hint="yes", flow=1)
    (entry,) = egress_entries(recorded(("t-1", refused), ("t-1", finished(1, 5))))
    assert (entry.allowed, entry.hint, entry.sent_bytes) == (False, "yes", None)
