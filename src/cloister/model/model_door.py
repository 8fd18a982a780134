"""A door to a model: what its provider wants beside the key, which requests it is for, what is told of each call."""

import re
from dataclasses import dataclass

from cloister.model.model_access import ModelApi
from cloister.model.model_usage import TokenUsage
from cloister.model.phase import Phase

_OPENAI_LIST = re.compile(r"/models(/[^/]+)*")
_CALLS = {
    ModelApi.RESPONSES: re.compile(r"/responses(/compact)?"),
    ModelApi.CHAT: re.compile(r"/chat/completions"),
    ModelApi.MESSAGES: re.compile(r"/v1/messages"),
    ModelApi.GEMINI: re.compile(r"/v1(beta)?/models/[^/:]+:(generateContent|streamGenerateContent)"),
}
_COUNTS = {
    ModelApi.RESPONSES: re.compile(r"/responses/input_tokens"),
    ModelApi.MESSAGES: re.compile(r"/v1/messages/count_tokens"),
    ModelApi.GEMINI: re.compile(r"/v1(beta)?/models/[^/:]+:countTokens"),
}
_LISTS = {
    ModelApi.RESPONSES: _OPENAI_LIST,
    ModelApi.CHAT: _OPENAI_LIST,
    ModelApi.MESSAGES: re.compile(r"/v1/models(/[^/]+)?"),
    ModelApi.GEMINI: re.compile(r"/v1(beta)?/models(/[^/:]+)?"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDoor:
    """What makes a grant's door one to a model. It is for calls of the model, and for what tells of models."""

    api: ModelApi
    headers: tuple[tuple[str, str], ...] = ()
    """Set in every request, in place of what the sandbox says."""
    query: tuple[tuple[str, str], ...] = ()
    """Parameters, likewise."""
    plain: bool = False
    """Whether the upstream is reached without TLS: the operator's setting says http://."""

    def is_call(self, method: str, path: str) -> bool:
        """Whether a request makes the model answer, so that it uses tokens. `path` is below the upstream's own."""
        return method == "POST" and _CALLS[self.api].fullmatch(path) is not None

    def is_for(self, method: str, path: str) -> bool:
        """Whether the door lets the request pass.

        Nothing else of a provider is reached: what runs in the background, in batches or on stored files would not be
        counted, and would outlive the attempt.
        """
        if self.is_call(method, path):
            return True
        table = _COUNTS if method == "POST" else _LISTS
        pattern = table.get(self.api) if method in ("POST", "GET") else None
        return pattern is not None and pattern.fullmatch(path) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCall:
    """One call of a model, as the egress process saw it, when it is over."""

    sandbox: str
    phase: Phase
    flow: int
    """See `EgressRecord`."""
    provider: str
    status: int
    """Of the provider's answer; 0 when there was none."""
    model: str = ""
    """As the answer names it."""
    usage: TokenUsage | None = None
    """None for a call that failed before the model began."""
    estimated: bool = False
    """Whether the provider did not say it, so that it was estimated from what passed."""
    fault: str = ""
    """What went wrong, in the provider's words where it had some; empty for a call that ended well."""
    key_refused: bool = False
    """Whether the provider did not take the key: no further call can be better."""
    retry_after: str = ""
    """What the provider said of when to try again: seconds or a date, as it is (RFC 9110, 10.2.3)."""
