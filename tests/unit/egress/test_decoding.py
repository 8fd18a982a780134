"""Bodies that came compressed although they should not."""

import gzip
import zlib
from collections.abc import Callable

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister.egress.answer import AnswerError
from cloister.egress.brokering import Brokered
from cloister.egress.decoding import Decoder
from cloister.egress.inject import Broker
from cloister.egress.metering import Meter
from cloister.egress.request import Authority, Request
from cloister.model.model_access import ModelApi
from cloister.model.secret import Grant, SecretValue

GRANT = Grant(
    name="hub",
    value=SecretValue("sk-0123456789abcdef"),
    placeholder="cloister-placeholder-hub-0000000000",
    hosts=("hub.example.com",),
)
REQUEST = Request(
    method="POST", authority=Authority("hub.example.com", 443), target="/chat/completions", headers=(), chunked=False
)
ANSWER = b'{"model": "m-1", "echo": "sk-0123456789abcdef", "usage": {"prompt_tokens": 90, "completion_tokens": 10}}'


def _head(*encodings: bytes) -> h11.Response:
    coded = [(b"Content-Encoding", coding) for coding in encodings]
    length = [(b"Content-Length", b"77"), (b"Content-Type", b"application/json")]
    return h11.Response(status_code=200, headers=[*length, *coded])


def _passing() -> tuple[Meter, Brokered]:
    broker = Broker([GRANT])
    return Meter(ModelApi.CHAT), Brokered(REQUEST, broker, broker.masker("hub.example.com", None))


@pytest.mark.parametrize("coding", [(b"br",), (b"zstd",), (b"gzip", b"gzip"), (b"gzip, br",)])
def test_what_cannot_be_made_plain_is_refused(coding: tuple[bytes, ...]) -> None:
    _, brokered = _passing()
    with pytest.raises(AnswerError, match="compressed its answer"):
        brokered.head(_head(*coding))


def test_no_such_body_a_cut_one_and_one_that_grows_without_end_are_faults() -> None:
    with pytest.raises(h11.RemoteProtocolError, match="not compressed as its head says"):
        Decoder().feed(b"plain text")
    cut = Decoder()
    cut.feed(gzip.compress(ANSWER)[:-9])
    with pytest.raises(h11.RemoteProtocolError, match="is cut"):
        cut.end()
    with pytest.raises(h11.RemoteProtocolError, match="become more than"):
        Decoder().feed(zlib.compress(bytes(20_000_000), 9))


@pytest.mark.parametrize(("coding", "compress"), [(b"gzip", gzip.compress), (b"deflate", zlib.compress)])
def test_a_compressed_answer_is_masked_counted_and_passed_on_plain(
    coding: bytes, compress: Callable[[bytes], bytes]
) -> None:
    meter, brokered = _passing()
    passing = meter.around(brokered)
    head = passing.head(_head(coding))
    assert [name for name, _ in head.headers] == [b"content-type"]
    data = compress(ANSWER)
    shown = passing.download(data[:20]) + passing.download(data[20:]) + passing.end_of_download()
    assert shown == ANSWER.replace(b"sk-0123456789abcdef", b"[secret hub]")
    usage = meter.usage()
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, meter.is_estimated) == (90, 10, False)


def test_an_event_is_passed_on_before_the_next_one_comes() -> None:
    deflate = zlib.compressobj(wbits=31)
    decoder = Decoder()
    for event in (b"data: one\n\n", b"data: two\n\n"):
        assert decoder.feed(deflate.compress(event) + deflate.flush(zlib.Z_SYNC_FLUSH)) == event
    decoder.feed(deflate.flush())
    decoder.end()


@given(members=st.lists(st.binary(max_size=300), max_size=3), size=st.integers(1, 50))
def test_wherever_it_is_cut_it_says_the_same(members: list[bytes], size: int) -> None:
    data, decoder = b"".join(map(gzip.compress, members)), Decoder()
    pieces = [decoder.feed(data[at : at + size]) for at in range(0, len(data), size)]
    decoder.end()
    assert b"".join(pieces) == b"".join(members)
