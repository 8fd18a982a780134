"""One call of a model on its way: what it used, and what became of it."""

from http import HTTPStatus

import h11

from cloister.egress.exchange import Passing
from cloister.egress.json_picker import JsonPicker
from cloister.egress.usage import UsageReader
from cloister.model.model_access import ModelApi
from cloister.model.model_usage import TokenUsage

_BYTES_OF_A_TOKEN = 4
"""Of text, where nobody counts: a little less than tokens of English or code have."""
_MESSAGES = (("error", "message"), ("error",), ("message",), ("detail",))
"""Where servers say what went wrong."""
_LONGEST_FAULT = 300
_KEY_INVALID = b"API_KEY_INVALID"
"""How Gemini says it, with the status 400."""
_SEARCHED_BYTES = 4096
_NOT_BEGUN = "nothing was answered"
_CUT = "the answer was cut in the middle"


class Meter:
    """Of one call. It looks at what passes, and changes nothing."""

    def __init__(self, api: ModelApi) -> None:
        self._api = api
        self._sent_bytes = 0
        self._is_sent = False
        self._received_bytes = 0
        self._reader: UsageReader | None = None
        self._error = JsonPicker(_MESSAGES)
        self._error_text = b""
        self._reason = ""
        self._is_whole = False
        self._failure = ""
        self.status = 0
        self.client_left = False
        self.retry_after = ""

    def around(self, inner: Passing) -> Passing:
        """Return `inner`, looked at."""
        return _Metered(inner, self)

    def fail(self, sentence: str) -> None:
        """There was no answer, for that reason."""
        self._failure = sentence

    @property
    def says_key_is_invalid(self) -> bool:
        """Whether an answer with another status than 401 says so nevertheless."""
        return self.status == HTTPStatus.BAD_REQUEST and _KEY_INVALID in self._error_text

    @property
    def model(self) -> str:
        """As the answer names it."""
        return self._reader.model if self._reader is not None else ""

    @property
    def is_estimated(self) -> bool:
        """Whether `usage` is not what the provider says of the whole answer."""
        return self._reader is None or not self._has_ended() or self._reader.usage() is None

    def usage(self) -> TokenUsage | None:
        """Return what was used, at least by estimate; None when the model did not begin.

        An answer that breaks off, or that its sandbox did not want to the end, is paid for all the same.
        """
        if self._reader is None:
            return self._estimate(0) if self._is_sent and not self.status else None
        said = self._reader.usage()
        if said is not None and self._has_ended():
            return said
        output = self._reader.events or -(-self._received_bytes // _BYTES_OF_A_TOKEN)
        guess = self._estimate(output)
        if said is None:
            return guess
        return TokenUsage(
            input_tokens=said.input_tokens,
            cached_tokens=said.cached_tokens,
            cache_written_tokens=said.cache_written_tokens,
            output_tokens=max(said.output_tokens, output),
        )

    def fault(self) -> str:
        """Return what went wrong, in a few words; nothing when nothing did, or when it was the sandbox that left."""
        if self._failure:
            return self._failure
        if self.status >= HTTPStatus.BAD_REQUEST:
            return (self._said() or self._reason or "no reason was given")[:_LONGEST_FAULT]
        if self.client_left:
            return ""
        if self._reader is None:
            return _NOT_BEGUN
        return self._reader.fault or ("" if self._has_ended() else _CUT)

    def see_upload(self, data: bytes) -> None:
        """Part of the request's body."""
        self._sent_bytes += len(data)

    def see_sent(self) -> None:
        """The request is with the provider."""
        self._is_sent = True

    def see_head(self, response: h11.Response) -> None:
        """The answer begins."""
        headers = dict(response.headers)
        self.status = response.status_code
        self.retry_after = headers.get(b"retry-after", b"").decode("ascii", "replace")[:64]
        self._reason = bytes(response.reason).decode("ascii", "replace")
        if response.status_code < HTTPStatus.MULTIPLE_CHOICES:
            kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
            self._reader = UsageReader(self._api, events=kind == b"text/event-stream")

    def see_download(self, data: bytes) -> None:
        """Part of the answer's body."""
        self._received_bytes += len(data)
        if self._reader is not None:
            self._reader.feed(data)
        else:
            self._error.feed(data)
            self._error_text += data[: _SEARCHED_BYTES - len(self._error_text)]

    def see_end(self) -> None:
        """The answer is whole, as far as HTTP knows."""
        self._is_whole = True
        if self._reader is not None:
            self._reader.finish()

    def _has_ended(self) -> bool:
        assert self._reader is not None, "an answer"
        return self._reader.is_over(whole=self._is_whole)

    def _estimate(self, output: int) -> TokenUsage:
        return TokenUsage(input_tokens=-(-self._sent_bytes // _BYTES_OF_A_TOKEN), output_tokens=output)

    def _said(self) -> str:
        texts = [self._error.found.get(path) for path in _MESSAGES]
        return next((" ".join(text.split()) for text in texts if isinstance(text, str) and text.strip()), "")


class _Metered(Passing):
    def __init__(self, inner: Passing, meter: Meter) -> None:
        self._inner = inner
        self._meter = meter

    def upload(self, data: bytes) -> bytes:
        self._meter.see_upload(data)
        return self._inner.upload(data)

    def end_of_upload(self) -> bytes:
        rest = self._inner.end_of_upload()
        self._meter.see_sent()
        return rest

    def head(self, response: h11.Response) -> h11.Response:
        response = self._inner.head(response)
        self._meter.see_head(response)
        return response

    def download(self, data: bytes) -> bytes:
        return self._seen(self._inner.download(data))

    def end_of_download(self) -> bytes:
        rest = self._seen(self._inner.end_of_download())
        self._meter.see_end()
        return rest

    def client_left(self) -> None:
        self._meter.client_left = True
        self._inner.client_left()

    def sentence(self, text: str) -> str:
        return self._inner.sentence(text)

    def _seen(self, data: bytes) -> bytes:
        self._meter.see_download(data)
        return data
