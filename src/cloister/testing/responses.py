"""OpenAI's responses: what codex speaks. See https://platform.openai.com/docs/api-reference/responses."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cloister.testing.answer import Answer, Call
from cloister.testing.asked import Asked, Result, Tool, content_text
from cloister.testing.dialect import Body, Dialect, pieces, sent_event

Item = Mapping[str, Any]


class Responses:
    """`POST .../responses`."""

    name = "responses"

    def read(self, body: Body, path: str) -> Asked:
        """See `Dialect`."""
        given = body["input"]
        items: Sequence[Item] = [{"role": "user", "content": given}] if isinstance(given, str) else given
        last = max((n for n, item in enumerate(items) if _is_the_models(item)), default=-1)
        newer = items[last + 1 :]
        return Asked(
            model=str(body["model"]),
            stream=bool(body.get("stream")),
            system=str(body.get("instructions") or ""),
            said=[content_text(item.get("content")) for item in items if item.get("role") == "assistant"],
            prompts=[content_text(item["content"]) for item in newer if item.get("role") == "user"],
            results=[Result(text=content_text(item.get("output"))) for item in newer if _is_result(item)],
            tools=[
                *_tools(body.get("tools") or ()),
                *(tool for it in items if it.get("type") == "additional_tools" for tool in _tools(it["tools"])),
            ],
            body=body,
        )

    def whole(self, answer: Answer, asked: Asked) -> Body:
        """See `Dialect`."""
        return _response(answer, asked, "completed", [*_items(answer)])

    def streamed(self, answer: Answer, asked: Asked) -> Iterator[str]:
        """See `Dialect`."""
        for number, (event, fields) in enumerate(_events(answer, asked)):
            yield sent_event({"type": event, "sequence_number": number, **fields}, event=event)

    def error(self, status: int, message: str) -> Body:
        """See `Dialect`."""
        return openai_error(status, message)


_: type[Dialect] = Responses


def openai_error(status: int, message: str) -> Body:
    """Return an error as OpenAI words it."""
    kinds = {401: "invalid_api_key", 429: "rate_limit_exceeded"}
    kind = "invalid_request_error" if status < 500 else "server_error"
    return {"error": {"message": message, "type": kind, "param": None, "code": kinds.get(status)}}


def _is_the_models(item: Item) -> bool:
    return item.get("role") == "assistant" or str(item.get("type")) in (
        "function_call",
        "custom_tool_call",
        "local_shell_call",
        "reasoning",
    )


def _is_result(item: Item) -> bool:
    return str(item.get("type")).endswith("_call_output")


def _tools(given: Sequence[Item]) -> Iterator[Tool]:
    for tool in given:
        match tool:
            case {"type": "function", "name": str(name)}:
                yield Tool(name=name, schema=tool.get("parameters") or {})
            case {"type": "custom", "name": str(name)}:
                yield Tool(name=name, schema={}, free=True)
            case {"type": "namespace", "tools": list(inner)}:
                yield from _tools(inner)


def _items(answer: Answer) -> Iterator[Item]:
    if answer.thinking:
        summary = [{"type": "summary_text", "text": answer.thinking}]
        yield {"type": "reasoning", "id": f"rs_{answer.id}", "summary": summary, "encrypted_content": "none"}
    if answer.text:
        content = [{"type": "output_text", "text": answer.text, "annotations": [], "logprobs": []}]
        message = {"type": "message", "id": f"msg_{answer.id}", "status": "completed", "role": "assistant"}
        yield {**message, "content": content}
    for call in answer.calls:
        yield _call_item(call)


def _call_item(call: Call) -> Item:
    named = {"call_id": f"call_{call.id}", "name": call.tool.name, "status": "completed"}
    if isinstance(call.arguments, str):
        return {"type": "custom_tool_call", "id": f"ctc_{call.id}", "input": call.arguments, **named}
    return {"type": "function_call", "id": f"fc_{call.id}", "arguments": json.dumps(call.arguments), **named}


def _response(answer: Answer, asked: Asked, status: str, output: Sequence[Item]) -> dict[str, Any]:
    return {
        "id": f"resp_{answer.id}",
        "object": "response",
        "created_at": 1_700_000_000,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "model": asked.model,
        "output": output,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": _usage(answer) if status == "completed" else None,
    }


def _usage(answer: Answer) -> Mapping[str, Any]:
    used = answer.usage
    return {
        "input_tokens": used.input,
        "input_tokens_details": {"cached_tokens": used.cached},
        "output_tokens": used.output,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": used.input + used.output,
    }


def _events(answer: Answer, asked: Asked) -> Iterator[tuple[str, Mapping[str, Any]]]:
    items = [*_items(answer)]
    yield "response.created", {"response": _response(answer, asked, "in_progress", [])}
    yield "response.in_progress", {"response": _response(answer, asked, "in_progress", [])}
    for index, item in enumerate(items):
        yield "response.output_item.added", {"output_index": index, "item": _empty(item)}
        for event, fields in _growth(item):
            yield event, {"item_id": item["id"], "output_index": index, **fields}
        yield "response.output_item.done", {"output_index": index, "item": item}
    yield "response.completed", {"response": _response(answer, asked, "completed", items)}


def _empty(item: Item) -> Item:
    """An item at its beginning."""
    empty = {"summary": [], "content": [], "arguments": "", "input": ""}
    begun = {key: empty.get(key, value) for key, value in item.items()}
    return {**begun, "status": "in_progress"} if "status" in item else begun


def _growth(item: Item) -> Iterator[tuple[str, Mapping[str, Any]]]:
    match item["type"]:
        case "message":
            part = item["content"][0]
            yield "response.content_part.added", {"content_index": 0, "part": {**part, "text": ""}}
            for piece in pieces(part["text"]):
                yield "response.output_text.delta", {"content_index": 0, "delta": piece, "logprobs": []}
            yield "response.output_text.done", {"content_index": 0, "text": part["text"], "logprobs": []}
            yield "response.content_part.done", {"content_index": 0, "part": part}
        case "reasoning":
            part = item["summary"][0]
            yield "response.reasoning_summary_part.added", {"summary_index": 0, "part": {**part, "text": ""}}
            for piece in pieces(part["text"]):
                yield "response.reasoning_summary_text.delta", {"summary_index": 0, "delta": piece}
            yield "response.reasoning_summary_text.done", {"summary_index": 0, "text": part["text"]}
            yield "response.reasoning_summary_part.done", {"summary_index": 0, "part": part}
        case "function_call":
            for piece in pieces(item["arguments"]):
                yield "response.function_call_arguments.delta", {"delta": piece}
            yield "response.function_call_arguments.done", {"arguments": item["arguments"]}
        case "custom_tool_call":
            for piece in pieces(item["input"]):
                yield "response.custom_tool_call_input.delta", {"delta": piece}
            yield "response.custom_tool_call_input.done", {"input": item["input"]}
