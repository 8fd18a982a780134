"""Server-sent events in any pieces."""

import pytest

from cloister.egress.event_stream import EventStream


def _events(*pieces: bytes) -> list[bytes]:
    events, data = [], bytearray()

    def end() -> None:
        events.append(bytes(data))
        data.clear()

    stream = EventStream(data.extend, end)
    for piece in pieces:
        stream.feed(piece)
    return events


@pytest.mark.parametrize("line_end", [b"\n", b"\r", b"\r\n"])
def test_every_split_is_the_same(line_end: bytes) -> None:
    lines = [
        b"event: one",
        b'data: {"a":',
        b"data:1}",
        b"",
        b": comment",
        b"",
        b"dat: no",
        b"data",
        b"data:x",
        b"id: 1",
        b"",
    ]
    text = line_end.join(lines) + line_end
    wanted = [b' {"a":\n1}\n', b"x\n"]
    assert _events(text) == wanted
    assert _events(*[text[at : at + 1] for at in range(len(text))]) == wanted
    for border in range(len(text)):
        assert _events(text[:border], text[border:]) == wanted


def test_an_event_that_is_not_over_is_not_told() -> None:
    assert _events(b"data: one\n\ndata: two\n") == [b" one\n"]
