import pytest

from cloister.model.trace import TraceParent, parse_traceparent, span_id_of, trace_id_of

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "nonsense",
        f"00-{TRACE}-{SPAN}",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-0g",
    ],
)
def test_who_says_it_wrongly_begins_no_trace(header: str | None) -> None:
    assert parse_traceparent(header) is None


@pytest.mark.parametrize(
    ("header", "sampled"),
    [(f"00-{TRACE}-{SPAN}-01", True), (f"00-{TRACE}-{SPAN}-00", False), (f" cc-{TRACE}-{SPAN}-03-later ", True)],
)
def test_a_header_is_read_also_of_a_later_version(header: str, sampled: bool) -> None:
    parent = TraceParent(trace_id=TRACE, span_id=SPAN, sampled=sampled)
    assert parse_traceparent(header) == parent == parse_traceparent(str(parent))


def test_ids_are_those_of_the_name_alone() -> None:
    assert trace_id_of("t1") == trace_id_of("t1") != trace_id_of("t2")
    assert len(trace_id_of("t1")) == 32
    assert len(span_id_of("turn", "t1/1")) == 16
    assert span_id_of("turn", "t1/1") != span_id_of("turn", "t1/2")
