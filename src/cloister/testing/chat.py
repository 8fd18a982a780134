"""OpenAI's chat completions: what most agents and most servers speak."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cloister.testing.answer import Answer, Call
from cloister.testing.asked import Asked, Result, Tool, content_text
from cloister.testing.dialect import Body, Dialect, pieces, sent_event
from cloister.testing.responses import openai_error


class ChatCompletions:
    """`POST .../chat/completions`."""

    name = "chat"

    def read(self, body: Body, path: str) -> Asked:
        """See `Dialect`."""
        messages: Sequence[Mapping[str, Any]] = body["messages"]
        last = max((n for n, it in enumerate(messages) if it["role"] == "assistant"), default=-1)
        return Asked(
            model=str(body["model"]),
            stream=bool(body.get("stream")),
            system="\n".join(content_text(it["content"]) for it in messages if it["role"] in ("system", "developer")),
            said=[content_text(it.get("content")) for it in messages if it["role"] == "assistant"],
            prompts=[content_text(it["content"]) for it in messages[last + 1 :] if it["role"] == "user"],
            results=[
                Result(text=content_text(it.get("content"))) for it in messages[last + 1 :] if it["role"] == "tool"
            ],
            tools=[
                Tool(name=tool["function"]["name"], schema=tool["function"].get("parameters") or {})
                for tool in body.get("tools") or ()
                if tool.get("type") == "function"
            ],
            body=body,
        )

    def whole(self, answer: Answer, asked: Asked) -> Body:
        """See `Dialect`."""
        message: dict[str, Any] = {"role": "assistant", "content": answer.text or None}
        if answer.thinking:
            message["reasoning_content"] = answer.thinking
        if answer.calls:
            message["tool_calls"] = [_call(call) for call in answer.calls]
        choice = {"index": 0, "message": message, "finish_reason": _reason(answer), "logprobs": None}
        return {**_head(answer, asked, "chat.completion"), "choices": [choice], "usage": _usage(answer)}

    def streamed(self, answer: Answer, asked: Asked) -> Iterator[str]:
        """See `Dialect`."""
        head = _head(answer, asked, "chat.completion.chunk")
        wants_usage = (body := asked.body.get("stream_options")) and body.get("include_usage")
        usage = {"usage": None} if wants_usage else {}
        for delta in _deltas(answer):
            choice = {"index": 0, "delta": delta, "finish_reason": None, "logprobs": None}
            yield sent_event({**head, "choices": [choice], **usage})
        last = {"index": 0, "delta": {}, "finish_reason": _reason(answer), "logprobs": None}
        yield sent_event({**head, "choices": [last], **usage})
        if wants_usage:
            yield sent_event({**head, "choices": [], "usage": _usage(answer)})
        yield sent_event("[DONE]")

    def error(self, status: int, message: str) -> Body:
        """See `Dialect`."""
        return openai_error(status, message)


_: type[Dialect] = ChatCompletions


def _deltas(answer: Answer) -> Iterator[Mapping[str, Any]]:
    yield {"role": "assistant", "content": ""}
    for piece in pieces(answer.thinking):
        yield {"reasoning_content": piece}
    for piece in pieces(answer.text):
        yield {"content": piece}
    for index, call in enumerate(answer.calls):
        whole = _call(call)
        function = whole["function"]
        yield {"tool_calls": [{"index": index, **whole, "function": {"name": function["name"], "arguments": ""}}]}
        for piece in pieces(function["arguments"]):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def _call(call: Call) -> dict[str, Any]:
    arguments = json.dumps(call.arguments)
    return {"id": f"call_{call.id}", "type": "function", "function": {"name": call.tool.name, "arguments": arguments}}


def _reason(answer: Answer) -> str:
    return "tool_calls" if answer.calls else "stop"


def _head(answer: Answer, asked: Asked, kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{answer.id}", "object": kind, "created": 1_700_000_000, "model": asked.model}


def _usage(answer: Answer) -> Mapping[str, Any]:
    used = answer.usage
    return {
        "prompt_tokens": used.input,
        "completion_tokens": used.output,
        "total_tokens": used.input + used.output,
        "prompt_tokens_details": {"cached_tokens": used.cached},
    }
