"""What is read of a model's answer, however it is cut, and of one that lies."""

import json

import pytest

from cloister.egress.usage import UsageReader
from cloister.model.model_access import ModelApi
from cloister.model.model_usage import TokenUsage

_LIE = {"usage": {"input_tokens": 1, "output_tokens": 1}, "model": "lie", "type": "response.completed"}
ANSWERS = {
    ModelApi.RESPONSES: [
        {"type": "response.output_item.done", "item": {**_LIE, "arguments": json.dumps(_LIE)}},
        {
            "type": "response.completed",
            "response": {
                "model": "m",
                "output": [_LIE],
                "usage": {"input_tokens": 100, "input_tokens_details": {"cached_tokens": 60}, "output_tokens": 7},
            },
        },
    ],
    ModelApi.MESSAGES: [
        {
            "type": "message_start",
            "message": {"model": "m", "usage": {"input_tokens": 40, "cache_read_input_tokens": 60, "output_tokens": 1}},
        },
        {"type": "content_block_delta", "delta": {"partial_json": json.dumps(_LIE), **_LIE}},
        {"type": "message_delta", "delta": {"usage": {"output_tokens": 1}}, "usage": {"output_tokens": 7}},
        {"type": "message_stop"},
    ],
    ModelApi.CHAT: [
        {"model": "m", "choices": [{"delta": {"content": json.dumps(_LIE)}, **_LIE}], "usage": None},
        {
            "model": "m",
            "usage": {"prompt_tokens": 100, "prompt_tokens_details": {"cached_tokens": 60}, "completion_tokens": 7},
        },
    ],
    ModelApi.GEMINI: [
        {"modelVersion": "m", "candidates": [_LIE], "usageMetadata": {"promptTokenCount": 100}},
        {
            "modelVersion": "m",
            "usageMetadata": {
                "promptTokenCount": 90,
                "toolUsePromptTokenCount": 10,
                "cachedContentTokenCount": 60,
                "candidatesTokenCount": 3,
                "thoughtsTokenCount": 4,
            },
        },
    ],
}
USED = TokenUsage(input_tokens=100, cached_tokens=60, output_tokens=7)


def _stream(api: ModelApi) -> bytes:
    end = ["[DONE]"] if api is ModelApi.CHAT else []
    return "".join(f"event: x\ndata: {data}\n\n" for data in [*map(json.dumps, ANSWERS[api]), *end]).encode()


def _read(api: ModelApi, *pieces: bytes, events: bool = True) -> UsageReader:
    reader = UsageReader(api, events=events)
    for piece in pieces:
        reader.feed(piece)
    reader.finish()
    return reader


@pytest.mark.parametrize("api", ModelApi)
def test_every_split_of_a_stream_is_the_same(api: ModelApi) -> None:
    text = _stream(api)
    for border in range(len(text) + 1):
        reader = _read(api, text[:border], text[border:])
        assert (reader.usage(), reader.model, reader.fault) == (USED, "m", "")
        assert reader.is_over(whole=True)
    single = _read(api, *[text[at : at + 1] for at in range(len(text))])
    assert single.usage() == USED


@pytest.mark.parametrize("api", [ModelApi.RESPONSES, ModelApi.CHAT, ModelApi.MESSAGES])
def test_a_stream_that_ends_anywhere_before_its_last_event_is_not_over(api: ModelApi) -> None:
    text = _stream(api)
    last = text.rindex(b"event: x")
    for end in range(0, last + 1, 7):
        assert not _read(api, text[:end]).is_over(whole=False)
    assert _read(api, text).is_over(whole=False), "the last event says it, whatever the connection does then"


@pytest.mark.parametrize("padding", ["", "x" * 20_000])
def test_a_name_that_is_no_text_is_none(padding: str) -> None:
    text = f'{{"model": "\\ud800", "output": "{padding}", "usage": {{"input_tokens": 1, "output_tokens": 2}}}}'
    assert _read(ModelApi.RESPONSES, text.encode(), events=False).model == ""


def test_a_list_of_answers_is_read_as_its_last_one() -> None:
    text = json.dumps(ANSWERS[ModelApi.GEMINI]).encode()
    for border in range(len(text)):
        assert _read(ModelApi.GEMINI, text[:border], text[border:], events=False).usage() == USED


@pytest.mark.parametrize(
    "usage",
    [
        {},
        {"input_tokens": "9", "output_tokens": 1},
        {"input_tokens": -1, "output_tokens": 1},
        {"input_tokens": 10**30, "output_tokens": 1},
        {"input_tokens": True, "output_tokens": 1},
        None,
        [1],
    ],
)
def test_what_is_no_number_of_tokens_is_none(usage: object) -> None:
    text = json.dumps({"model": "m", "usage": usage}).encode()
    assert _read(ModelApi.RESPONSES, text, events=False).usage() is None


@pytest.mark.parametrize(
    ("api", "event", "fault"),
    [
        (ModelApi.MESSAGES, {"type": "error", "error": {"message": "Overloaded"}}, "Overloaded"),
        (ModelApi.RESPONSES, {"type": "error", "message": "too slow"}, "too slow"),
        (ModelApi.RESPONSES, {"type": "response.failed", "response": {"error": {"message": "server"}}}, "server"),
        (ModelApi.CHAT, {"error": {"message": "no"}}, "no"),
    ],
)
def test_a_failure_in_a_stream_is_told_in_its_words(api: ModelApi, event: object, fault: str) -> None:
    assert _read(api, f"data: {json.dumps(event)}\n\n".encode()).fault == fault


def test_a_long_answer_takes_little_memory() -> None:
    reader = UsageReader(ModelApi.RESPONSES, events=True)
    reader.feed(b'data: {"type": "response.completed", "response": {"output": "')
    for _ in range(2000):
        reader.feed(b"x" * 1000)
    reader.feed(b'", "usage": {"input_tokens": 1, "output_tokens": 2}}}\n\n')
    assert reader.usage() == TokenUsage(input_tokens=1, output_tokens=2)
