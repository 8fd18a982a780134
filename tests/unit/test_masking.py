"""Values are masked wherever the stream is cut, and nothing else is touched or delayed."""

import base64
import html
import itertools
import json
import shlex
import subprocess
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cloister.masking import MaskingRedactor
from cloister.model.secret import SecretValue

TOKEN = "s3cr3t/T+ken'\"$é"
PEM = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG\n9w0BAQEFAASCBKcwggSj\nend\n-----END KEY-----\n"
VALUES = st.text(min_size=6).filter(lambda value: len(value.strip()) >= 6)


def _redactor(**values: str) -> MaskingRedactor:
    return MaskingRedactor({name: SecretValue(value) for name, value in values.items()})


def _through(redactor: MaskingRedactor, chunks: Iterable[bytes]) -> bytes:
    return b"".join(redactor.feed(chunk) for chunk in chunks) + redactor.flush()


@pytest.mark.parametrize("at", range(len(TOKEN.encode()) + 13))
def test_every_split_position(at: int) -> None:
    stream = b"before " + TOKEN.encode() + b" after"
    assert _through(_redactor(TOKEN=TOKEN), [stream[:at], stream[at:]]) == b"before [secret TOKEN] after"


def test_every_pair_of_split_positions() -> None:
    stream = b"<" + b"abcdef" + b"><abcdefgh>"
    for one, two in itertools.combinations(range(len(stream) + 1), 2):
        chunks = [stream[:one], stream[one:two], stream[two:]]
        assert _through(_redactor(SHORT="abcdef", LONG="abcdefgh"), chunks) == b"<[secret SHORT]><[secret LONG]>"


@pytest.mark.parametrize(
    "printed",
    [
        TOKEN.encode(),
        TOKEN.encode().hex().encode(),
        TOKEN.encode().hex().upper().encode(),
        quote(TOKEN).encode(),
        quote(TOKEN, safe="").encode(),
        quote_plus(TOKEN).encode(),
        quote(TOKEN, safe="").lower().replace("t%2bken", "T%2bken").encode(),
        json.dumps(TOKEN)[1:-1].encode(),
        json.dumps(TOKEN, ensure_ascii=False)[1:-1].encode(),
        shlex.quote(TOKEN)[1:-1].encode(),
        html.escape(TOKEN).encode(),
        base64.b64encode(TOKEN.encode()).rstrip(b"="),
        base64.urlsafe_b64encode(TOKEN.encode()).rstrip(b"="),
    ],
)
def test_every_encoding(printed: bytes) -> None:
    assert _through(_redactor(TOKEN=TOKEN), [b"<", printed, b">"]) == b"<[secret TOKEN]>"


@pytest.mark.parametrize("format", ["%q", "%s"])
def test_what_a_shell_quotes(format: str) -> None:
    printed = subprocess.check_output(["bash", "-c", f"printf '{format}' \"$1\"", "-", "s3cr3t tok'n$x"])
    assert _through(_redactor(TOKEN="s3cr3t tok'n$x"), [b"<" + printed + b">"]) == b"<[secret TOKEN]>"


@pytest.mark.parametrize("before", ["", "u", "us", "user:", "user1:", "user12:"])
@pytest.mark.parametrize("after", ["", "\n", ":x"])
def test_base64_with_anything_around(before: str, after: str) -> None:
    shown = _through(
        _redactor(T="correct horse battery"), [base64.b64encode(f"{before}correct horse battery{after}".encode())]
    )
    assert b"[secret T]" in shown
    assert len(shown.replace(b"[secret T]", b"")) <= 4 * (len(before) + len(after) + 4) / 3 + 4


@pytest.mark.parametrize("width", [64, 76])
def test_base64_in_lines(width: int) -> None:
    value = "".join(chr(33 + n % 90) for n in range(300))
    encoded = base64.b64encode(value.encode()).decode()
    lines = "\n".join(encoded[at : at + width] for at in range(0, len(encoded), width))
    assert _through(_redactor(T=value), [lines.encode()]) == b"[secret T]"


def test_lines_of_a_value_are_masked_one_by_one_and_whole() -> None:
    assert _through(_redactor(KEY=PEM), [b"<", PEM.encode(), b">"]) == b"<[secret KEY]>"
    shown = _through(_redactor(KEY=PEM), [b"  9w0BAQEFAASCBKcwggSj\r\nMIIEvQIBADANBgkqhkiG\nend\n"])
    assert shown == b"  [secret KEY]\r\n[secret KEY]\nend\n"
    on_terminal = PEM.encode().replace(b"\n", b"\r\n")
    assert _through(_redactor(KEY=PEM), [b"<", on_terminal, b">"]) == b"<[secret KEY]>"


@pytest.mark.parametrize(
    "near", ["s3cr3t/T+ken", "s3cr3t", TOKEN[1:], TOKEN[:-1], TOKEN.upper(), TOKEN.replace("/", "//")]
)
def test_a_near_miss_is_shown(near: str) -> None:
    assert _through(_redactor(TOKEN=TOKEN), [near.encode()]) == near.encode()


def test_only_what_may_become_a_value_is_held_back() -> None:
    redactor = _redactor(TOKEN="s3cr3tvalue")
    assert redactor.feed(b"hello\n") == b"hello\n"
    assert redactor.held_bytes == 0
    assert redactor.feed(b"a line s3c") == b"a line "
    assert redactor.held_bytes == 3
    assert redactor.feed(b"x") == b"s3cx"
    assert redactor.feed(b"s3cr3tvalu") == b""
    assert redactor.feed(b"e") == b"[secret TOKEN]"
    assert redactor.flush() == b""


def test_a_value_of_one_repeated_letter_is_masked_and_holds_no_more_than_itself() -> None:
    redactor = _redactor(A="a" * 300)
    shown = redactor.feed(b"a" * 299 + b"b" + b"a" * 299)
    assert len(shown) >= 300
    assert shown + redactor.feed(b"a!") + redactor.flush() == b"a" * 299 + b"b[secret A]!"


def test_without_values_the_same_object_comes_back() -> None:
    data = b"anything at all"
    assert _redactor().feed(data) is data
    assert _redactor().flush() == b""


def test_a_long_value_of_one_repeated_letter_is_masked_in_bounded_time() -> None:
    redactor = _redactor(A="a" * 20_000)
    chunks = [b"a" * 19_999 + b"b", *[b"a" * 1000] * 20]
    assert _through(redactor, chunks) == b"a" * 19_999 + b"b[secret A]"


@given(value=VALUES, before=st.binary(), after=st.binary(), cuts=st.lists(st.integers(0, 200)))
@example(value="000000", before=b"0", after=b"0", cuts=[])
def test_a_value_never_gets_through(value: str, before: bytes, after: bytes, cuts: list[int]) -> None:
    stream = before + value.encode() + after
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    shown = _through(_redactor(V=value), [stream[a:b] for a, b in itertools.pairwise(places)])
    assert b"[secret V]" in shown
    assert value.encode() not in shown.replace(b"[secret V]", b"\xff")


@given(value=VALUES, stream=st.binary(max_size=300), cuts=st.lists(st.integers(0, 300)))
def test_cuts_change_nothing(value: str, stream: bytes, cuts: list[int]) -> None:
    stream = stream[:100] + value.encode()[:4] + stream[100:] + value.encode() + stream[:3]
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    cut = _through(_redactor(V=value), [stream[a:b] for a, b in itertools.pairwise(places)])
    assert cut == _through(_redactor(V=value), [stream])


@given(stream=st.lists(st.binary(max_size=50)))
def test_a_stream_without_the_value_is_untouched(stream: list[bytes]) -> None:
    assert _through(_redactor(V="a value that is long enough not to be found by chance"), stream) == b"".join(stream)
