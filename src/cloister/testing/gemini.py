"""Google's generateContent: what gemini speaks. See https://ai.google.dev/api/generate-content."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cloister.testing.answer import Answer, Call
from cloister.testing.asked import Asked, Result, Tool, content_text
from cloister.testing.dialect import Body, Dialect, pieces, sent_event

_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
}


class Gemini:
    """`POST .../models/MODEL:generateContent` and `:streamGenerateContent`."""

    name = "gemini"

    def read(self, body: Body, path: str) -> Asked:
        """See `Dialect`."""
        given = body["contents"]
        contents: Sequence[Mapping[str, Any]] = [given] if isinstance(given, dict) else given
        model, _, method = path.rpartition("/")[2].partition(":")
        last = max((n for n, it in enumerate(contents) if it.get("role") == "model"), default=-1)
        newer = [part for it in contents[last + 1 :] for part in it["parts"]]
        return Asked(
            model=model,
            stream=method == "streamGenerateContent",
            system=content_text((body.get("systemInstruction") or {}).get("parts")),
            said=[content_text(it["parts"]) for it in contents if it.get("role") == "model"],
            prompts=[part["text"] for part in newer if "text" in part],
            results=[
                Result(text=content_text(part["functionResponse"].get("response")))
                for part in newer
                if "functionResponse" in part
            ],
            tools=[
                Tool(name=it["name"], schema=it.get("parametersJsonSchema") or it.get("parameters") or {})
                for tool in body.get("tools") or ()
                for it in tool.get("functionDeclarations") or ()
            ],
            body=body,
        )

    def whole(self, answer: Answer, asked: Asked) -> Body:
        """See `Dialect`."""
        return _chunk(answer, asked, [*_parts(answer, whole=True)], last=True)

    def streamed(self, answer: Answer, asked: Asked) -> Iterator[str]:
        """See `Dialect`."""
        parts = [*_parts(answer, whole=False)]
        for number, part in enumerate(parts, 1):
            yield sent_event(_chunk(answer, asked, [part], last=number == len(parts)))

    def error(self, status: int, message: str) -> Body:
        """See `Dialect`."""
        known = _STATUSES.get(status, "INTERNAL" if status >= 500 else "FAILED_PRECONDITION")
        return {"error": {"code": status, "message": message, "status": known}}


_: type[Dialect] = Gemini


def _parts(answer: Answer, *, whole: bool) -> Iterator[Mapping[str, Any]]:
    if answer.thinking:
        yield {"text": answer.thinking, "thought": True}
    for piece in [answer.text] * bool(answer.text) if whole else pieces(answer.text):
        yield {"text": piece}
    for call in answer.calls:
        yield {"functionCall": _call(call)}


def _call(call: Call) -> Mapping[str, Any]:
    return {"id": f"call_{call.id}", "name": call.tool.name, "args": call.arguments}


def _chunk(answer: Answer, asked: Asked, parts: Sequence[Mapping[str, Any]], *, last: bool) -> Mapping[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": parts}, "index": 0}
    if last:
        candidate["finishReason"] = "STOP"
    used = answer.usage
    usage = {
        "promptTokenCount": used.input,
        "cachedContentTokenCount": used.cached,
        "candidatesTokenCount": used.output,
        "totalTokenCount": used.input + used.output,
    }
    told = {"modelVersion": asked.model, "responseId": answer.id}
    return {"candidates": [candidate], "usageMetadata": usage, **told}
