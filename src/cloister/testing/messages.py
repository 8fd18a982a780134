"""Anthropic's messages: what Claude Code speaks. See https://docs.anthropic.com/en/api/messages."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cloister.testing.answer import Answer, Call
from cloister.testing.asked import Asked, Result, Tool, content_text
from cloister.testing.dialect import Body, Dialect, pieces, sent_event

_ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    529: "overloaded_error",
}


class Messages:
    """`POST .../messages`."""

    name = "messages"

    def read(self, body: Body, path: str) -> Asked:
        """See `Dialect`."""
        messages: Sequence[Mapping[str, Any]] = body["messages"]
        last = max((n for n, it in enumerate(messages) if it["role"] == "assistant"), default=-1)
        newer = [part for it in messages[last + 1 :] if it["role"] == "user" for part in _parts(it["content"])]
        return Asked(
            model=str(body["model"]),
            stream=bool(body.get("stream")),
            system=content_text(body.get("system")),
            said=[content_text(it["content"]) for it in messages if it["role"] == "assistant"],
            prompts=[str(part["text"]) for part in newer if part.get("type") == "text"],
            results=[
                Result(text=content_text(part.get("content")), failed=bool(part.get("is_error")))
                for part in newer
                if part.get("type") == "tool_result"
            ],
            tools=[
                Tool(name=tool["name"], schema=tool["input_schema"])
                for tool in body.get("tools") or ()
                if "input_schema" in tool
            ],
            body=body,
        )

    def whole(self, answer: Answer, asked: Asked) -> Body:
        """See `Dialect`."""
        return {
            **_head(answer, asked),
            "content": [*_blocks(answer)],
            "stop_reason": _reason(answer),
            "usage": _usage(answer),
        }

    def streamed(self, answer: Answer, asked: Asked) -> Iterator[str]:
        """See `Dialect`."""
        for event, fields in _events(answer, asked):
            yield sent_event({"type": event, **fields}, event=event)

    def error(self, status: int, message: str) -> Body:
        """See `Dialect`."""
        kind = _ERRORS.get(status, "api_error" if status >= 500 else "invalid_request_error")
        return {"type": "error", "error": {"type": kind, "message": message}}


_: type[Dialect] = Messages


def _parts(content: object) -> Sequence[Mapping[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content  # type: ignore[return-value]


def _blocks(answer: Answer) -> Iterator[Mapping[str, Any]]:
    if answer.thinking:
        yield {"type": "thinking", "thinking": answer.thinking, "signature": "none"}
    if answer.text:
        yield {"type": "text", "text": answer.text}
    for call in answer.calls:
        yield _call(call)


def _call(call: Call) -> Mapping[str, Any]:
    return {"type": "tool_use", "id": f"toolu_{call.id}", "name": call.tool.name, "input": call.arguments}


def _events(answer: Answer, asked: Asked) -> Iterator[tuple[str, Mapping[str, Any]]]:
    begun = {
        **_head(answer, asked),
        "content": [],
        "stop_reason": None,
        "usage": {**_usage(answer), "output_tokens": 1},
    }
    yield "message_start", {"message": begun}
    for index, block in enumerate(_blocks(answer)):
        yield "content_block_start", {"index": index, "content_block": _empty(block)}
        if index == 0:
            yield "ping", {}
        for delta in _growth(block):
            yield "content_block_delta", {"index": index, "delta": delta}
        yield "content_block_stop", {"index": index}
    ended = {"stop_reason": _reason(answer), "stop_sequence": None}
    yield "message_delta", {"delta": ended, "usage": {"output_tokens": answer.usage.output}}
    yield "message_stop", {}


def _empty(block: Mapping[str, Any]) -> Mapping[str, Any]:
    empty: Mapping[str, Any] = {"thinking": "", "signature": "", "text": "", "input": {}}
    return {key: empty.get(key, value) for key, value in block.items()}


def _growth(block: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    match block["type"]:
        case "thinking":
            for piece in pieces(block["thinking"]):
                yield {"type": "thinking_delta", "thinking": piece}
            yield {"type": "signature_delta", "signature": block["signature"]}
        case "text":
            for piece in pieces(block["text"]):
                yield {"type": "text_delta", "text": piece}
        case "tool_use":
            for piece in pieces(json.dumps(block["input"])):
                yield {"type": "input_json_delta", "partial_json": piece}


def _reason(answer: Answer) -> str:
    return "tool_use" if answer.calls else "end_turn"


def _head(answer: Answer, asked: Asked) -> dict[str, Any]:
    named = {"id": f"msg_{answer.id}", "type": "message", "role": "assistant", "model": asked.model}
    return {**named, "stop_sequence": None}


def _usage(answer: Answer) -> Mapping[str, Any]:
    used = answer.usage
    return {
        "input_tokens": used.input - used.cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": used.cached,
        "output_tokens": used.output,
    }
