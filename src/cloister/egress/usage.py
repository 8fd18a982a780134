"""Reads of a model's answer, while it passes by, what it used, which model it was, and whether it came to its end."""

import re
from collections.abc import Collection, Mapping

import msgspec

from cloister.egress.event_stream import EventStream
from cloister.egress.json_picker import JsonPicker, Path
from cloister.model.model_access import ModelApi
from cloister.model.model_usage import TokenUsage

_HIGHEST = 10**12
"""More tokens than that no call has."""
_LONGEST_MESSAGE = 300

_RESPONSE = {
    ("model",): "model",
    ("usage", "input_tokens"): "input",
    ("usage", "input_tokens_details", "cached_tokens"): "cached",
    ("usage", "output_tokens"): "output",
    ("error", "message"): "fault",
}
_MESSAGE = {
    ("model",): "model",
    ("usage", "input_tokens"): "input",
    ("usage", "cache_read_input_tokens"): "cached",
    ("usage", "cache_creation_input_tokens"): "cache_written",
    ("usage", "output_tokens"): "output",
    ("error", "message"): "fault",
}


def _below(name: str, paths: Mapping[Path, str]) -> dict[Path, str]:
    return {(name, *path): meaning for path, meaning in paths.items()}


_PATHS: dict[ModelApi, dict[Path, str]] = {
    # A stream has the whole response in its last event, beside the event's own type.
    ModelApi.RESPONSES: {**_RESPONSE, **_below("response", _RESPONSE), ("type",): "type", ("message",): "said"},
    ModelApi.CHAT: {
        ("model",): "model",
        ("usage", "prompt_tokens"): "input",
        ("usage", "prompt_tokens_details", "cached_tokens"): "cached",
        ("usage", "completion_tokens"): "output",
        ("error", "message"): "fault",
    },
    # A stream has the input in its first event, and the output, which grows, in others.
    ModelApi.MESSAGES: {**_MESSAGE, **_below("message", _MESSAGE), ("type",): "type"},
    ModelApi.GEMINI: {
        ("modelVersion",): "model",
        ("usageMetadata", "promptTokenCount"): "input",
        ("usageMetadata", "toolUsePromptTokenCount"): "tool_input",
        ("usageMetadata", "cachedContentTokenCount"): "cached",
        ("usageMetadata", "candidatesTokenCount"): "output",
        ("usageMetadata", "thoughtsTokenCount"): "thoughts",
        ("error", "message"): "fault",
    },
}
_LAST_EVENTS = frozenset(("response.completed", "response.incomplete", "response.failed", "message_stop"))
_DONE = b"[DONE]"
_MARKS = re.compile(rb'[uU]sage|"model|error|message|response\.(?:completed|incomplete|failed)')
"""A text without any of these says nothing that is looked for."""
_READ_AT_ONCE = 16 * 1024
"""Bytes of a text that is kept until it is over, and read by a parser that is many times as fast."""
_TELLS_ITS_END = frozenset((ModelApi.RESPONSES, ModelApi.CHAT, ModelApi.MESSAGES))


def _find(text: bytes, paths: Collection[Path]) -> dict[Path, object]:
    """Return what is at these paths of a whole JSON text, as `JsonPicker` does; nothing where it is none."""
    if _MARKS.search(text) is None:
        return {}  # most events of a stream
    try:
        value = msgspec.json.decode(text)
    except (ValueError, RecursionError):
        return {}
    found: dict[Path, object] = {}
    for one in value if isinstance(value, list) else [value]:
        for path in paths:
            inner = one
            for name in path:
                inner = inner.get(name) if isinstance(inner, dict) else None
            if isinstance(inner, str | int | float):
                found[path] = inner
    return found


class UsageReader:
    """Of one answer with status 200: events, or one JSON text. It holds a few values and never fails."""

    def __init__(self, api: ModelApi, *, events: bool) -> None:
        self._api = api
        self._paths = _PATHS[api]
        self._whole = bytearray()
        """The beginning of a text, until it is over, or too long to be read at once."""
        self._picker: JsonPicker | None = None
        """Reads a text that is too long for that."""
        self._stream = EventStream(self._read, self._end_event) if events else None
        self._numbers: dict[str, int] = {}
        self._said_end = False
        self.events = 0
        """With data, as far as they are over."""
        self.model = ""
        self.fault = ""
        """What the provider says went wrong after it had begun to answer."""

    def is_over(self, *, whole: bool) -> bool:
        """Whether the answer came to its end, when as HTTP sees it the body is `whole`, or is not."""
        if self._said_end:
            return True
        if self._stream is None or self._api not in _TELLS_ITS_END:
            return whole
        return whole and self._api is ModelApi.CHAT and self.usage() is not None  # some servers end without [DONE]

    def feed(self, data: bytes) -> None:
        """Read on."""
        if self._stream is not None:
            self._stream.feed(data)
        else:
            self._read(data)

    def finish(self) -> None:
        """The body is over."""
        if self._stream is None:
            self._take(self._found())

    def usage(self) -> TokenUsage | None:
        """Return what the provider said by now; None when it has not said both kinds of tokens."""
        numbers = self._numbers
        if "input" not in numbers or ("output" not in numbers and self._api is not ModelApi.GEMINI):
            return None  # Gemini leaves a zero out
        cached, written = numbers.get("cached", 0), numbers.get("cache_written", 0)
        uncached_alone = self._api is ModelApi.MESSAGES  # which counts what is cached beside the input
        return TokenUsage(
            input_tokens=numbers["input"] + numbers.get("tool_input", 0) + (cached + written if uncached_alone else 0),
            cached_tokens=cached,
            cache_written_tokens=written,
            output_tokens=numbers.get("output", 0) + numbers.get("thoughts", 0),
        )

    def _read(self, data: bytes) -> None:
        if self._picker is not None:
            self._picker.feed(data)
            return
        self._whole += data
        if len(self._whole) > _READ_AT_ONCE:
            self._picker = JsonPicker(self._paths)
            self._picker.feed(bytes(self._whole))
            self._whole.clear()

    def _found(self) -> Mapping[Path, object]:
        """Return what the text says, and begin another one."""
        text, picker = bytes(self._whole), self._picker
        self._picker = None
        self._whole.clear()
        return picker.found if picker is not None else _find(text, self._paths)

    def _end_event(self) -> None:
        self.events += 1
        if self._picker is None and self._whole.strip() == _DONE:  # which is no JSON
            self._said_end = True
        self._take(self._found())

    def _take(self, found: Mapping[Path, object]) -> None:
        texts: dict[str, str] = {}
        for path, value in found.items():
            meaning = self._paths[path]
            if isinstance(value, str):
                texts[meaning] = value[:_LONGEST_MESSAGE]
            elif isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _HIGHEST:
                self._numbers[meaning] = value
        self.model = texts.get("model", self.model)
        kind = texts.get("type")
        self._said_end = self._said_end or kind in _LAST_EVENTS
        said = texts.get("said", "the provider broke off") if kind == "error" else ""
        self.fault = texts.get("fault") or said or self.fault
