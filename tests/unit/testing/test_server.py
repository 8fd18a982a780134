"""The protocols as programs see them; the real programs are run against it elsewhere."""

import http.client
import json
from collections.abc import Mapping
from typing import Any

import anyio
import pytest

from cloister.testing import ScriptedModel, open_model, read_script

TOOL = {"type": "object", "properties": {"command": {"type": "string"}, "why": {"type": "string"}}, "required": ["why"]}
WORK = """
[[turns]]
expect = { prompt = "fix it" }
think = "hm"
say = "I look."
run = "make test"
usage = { input = 50, cached = 20, output = 7 }
[[turns]]
expect = { result = "no", status = 2 }
say = "It is broken."
"""


async def post(
    model: ScriptedModel, path: str, body: object, headers: Mapping[str, str] | None = None
) -> tuple[int, str]:
    def ask() -> tuple[int, str]:
        connection = http.client.HTTPConnection(model.address.removeprefix("http://"))
        try:
            connection.request("POST", path, json.dumps(body), dict(headers or {}))
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    return await anyio.to_thread.run_sync(ask)


def events_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]


def play(text: str) -> Any:
    return open_model(read_script(text.encode(), source="turns.toml"))


def _chat(*messages: Mapping[str, Any], stream: bool = False) -> dict[str, Any]:
    tool = {"type": "function", "function": {"name": "shell", "parameters": TOOL}}
    return {"model": "m", "stream": stream, "messages": list(messages), "tools": [tool]}


USER = {"role": "user", "content": "please fix it"}


async def test_responses() -> None:
    tool = {"type": "function", "name": "exec_command", "parameters": {"properties": {"cmd": {"type": "string"}}}}
    asked = {"model": "m", "stream": True, "tools": [tool], "input": [{"type": "message", **USER}]}
    async with play(WORK) as model:
        events = events_of((await post(model, "/v1/responses", asked))[1])
        assert [event["sequence_number"] for event in events] == list(range(len(events)))
        items = [event["item"] for event in events if event["type"] == "response.output_item.done"]
        assert [item["type"] for item in items] == ["reasoning", "message", "function_call"]
        assert json.loads(items[2]["arguments"]) == {"cmd": "make test"}
        deltas = [event["delta"] for event in events if event["type"] == "response.output_text.delta"]
        assert len(deltas) > 1
        assert "".join(deltas) == "I look."
        assert events[-1]["type"] == "response.completed"
        assert events[-1]["response"]["output"] == items
        assert events[-1]["response"]["usage"]["input_tokens_details"] == {"cached_tokens": 20}
        result = {"type": "function_call_output", "call_id": items[2]["call_id"], "output": "exited with code 2: no"}
        whole = {**asked, "stream": False, "input": [*asked["input"], *items, result]}  # type: ignore[misc]
        answer = json.loads((await post(model, "/v1/responses", whole))[1])
        assert answer["output"][0]["content"][0]["text"] == "It is broken."
        model.check()


async def test_chat_completions() -> None:
    async with play(WORK) as model:
        asked = {**_chat(USER, stream=True), "stream_options": {"include_usage": True}}
        text = (await post(model, "/v1/chat/completions", asked))[1]
        assert text.endswith("data: [DONE]\n\n")
        events = events_of(text)
        deltas = [event["choices"][0]["delta"] for event in events if event["choices"]]
        assert "".join(delta.get("content") or "" for delta in deltas) == "I look."
        calls = [call for delta in deltas for call in delta.get("tool_calls", ())]
        assert calls[0]["function"]["name"] == "shell"
        arguments = json.loads("".join(call["function"]["arguments"] for call in calls))
        assert arguments == {"why": "as the script says", "command": "make test"}
        assert events[-1]["usage"]["prompt_tokens"] == 50
        called = {"role": "assistant", "content": "I look.", "tool_calls": [calls[0]]}
        result = {"role": "tool", "tool_call_id": calls[0]["id"], "content": "<returncode>2</returncode> no"}
        answer = json.loads((await post(model, "/chat/completions", _chat(USER, called, result)))[1])
        assert answer["choices"][0]["message"] == {"role": "assistant", "content": "It is broken."}
        assert answer["choices"][0]["finish_reason"] == "stop"
        model.check()


async def test_messages() -> None:
    tool = {"name": "Bash", "input_schema": TOOL}
    asked = {"model": "m", "stream": True, "tools": [tool], "messages": [USER]}
    async with play(WORK) as model:
        events = events_of((await post(model, "/v1/messages", asked))[1])
        assert [event["type"] for event in events if event["type"].startswith("message")] == [
            "message_start",
            "message_delta",
            "message_stop",
        ]
        begun = [event["content_block"] for event in events if event["type"] == "content_block_start"]
        assert [block["type"] for block in begun] == ["thinking", "text", "tool_use"]
        deltas = [event["delta"] for event in events if event["type"] == "content_block_delta"]
        given = json.loads("".join(delta.get("partial_json", "") for delta in deltas))
        assert given["command"] == "make test"
        result = {"type": "tool_result", "tool_use_id": begun[2]["id"], "content": "Exit code 2\nno", "is_error": True}
        history = [
            USER,
            {"role": "assistant", "content": [begun[2]]},
            {"role": "user", "content": [result]},
        ]
        whole = {**asked, "stream": False, "messages": history}
        answer = json.loads((await post(model, "/v1/messages", whole))[1])
        assert answer["content"] == [{"type": "text", "text": "It is broken."}]
        assert answer["stop_reason"] == "end_turn"
        assert json.loads((await post(model, "/v1/messages/count_tokens", asked))[1])["input_tokens"] > 0
        model.check()


async def test_gemini() -> None:
    tools = [{"functionDeclarations": [{"name": "run_shell_command", "parametersJsonSchema": TOOL}]}]
    said = {"role": "user", "parts": [{"text": "please fix it"}]}
    asked = {"contents": [said], "tools": tools}
    async with play(WORK) as model:
        events = events_of((await post(model, "/v1beta/models/m:streamGenerateContent?alt=sse", asked))[1])
        parts = [event["candidates"][0]["content"]["parts"][0] for event in events]
        assert parts[0] == {"text": "hm", "thought": True}
        call = parts[-1]["functionCall"]
        assert call["args"]["command"] == "make test"
        result = {"functionResponse": {"name": call["name"], "response": {"output": "Exit Code: 2\nno"}}}
        history = [said, {"role": "model", "parts": parts}, {"role": "user", "parts": [result]}]
        text = (await post(model, "/v1beta/models/m:generateContent", {**asked, "contents": history}))[1]
        assert json.loads(text)["candidates"][0]["content"]["parts"] == [{"text": "It is broken."}]
        model.check()


@pytest.mark.parametrize(
    ("expected", "said"),
    [
        ('prompt = "break it"', "the prompt has no 'break it'"),
        ('result = "x"', "the last result has no 'x': 'there is none'"),
        ("status = 0", "no command has ended yet"),
        ('anywhere = "z"', "the request has no 'z'"),
        ('nowhere = "please"', "the request has 'please'"),
        ('nowhere = "abc"', "the request has 'abc'"),
        ("images = 1", "the request has 0 images, not 1"),
        ('model = "n"', "the model asked for is 'm', not 'n'"),
    ],
)
async def test_a_request_that_is_not_as_the_script_has_it_is_refused_and_told(expected: str, said: str) -> None:
    async with play(f'turns = [{{ say = "a", expect = {{ {expected} }} }}]') as model:
        status, text = await post(model, "/v1/chat/completions", _chat(USER), {"x-session": "abc"})
        assert status == 400
        assert said in json.loads(text)["error"]["message"]
        assert model.problems[0].startswith(f"conversation 1, turn 1: {said}")
        with pytest.raises(AssertionError, match="turn 1 was never asked for"):
            model.check()


async def test_more_than_the_script_has_is_refused() -> None:
    async with play('turns = [{ say = "done" }]') as model:
        assert (await post(model, "/v1/chat/completions", _chat(USER)))[0] == 200
        after = _chat(USER, {"role": "assistant", "content": "done"}, USER)
        status, text = await post(model, "/v1/chat/completions", after)
        assert (status, "there is no such turn" in text) == (400, True)
        status, text = await post(model, "/v1/chat/completions", _chat(USER))
        assert (status, "no more conversations" in text) == (400, True)
        assert len(model.problems) == 2


async def test_what_is_no_request_of_a_model_is_refused() -> None:
    async with play('turns = [{ say = "done" }]') as model:
        assert (await post(model, "/v1/embeddings", {}))[0] == 404
        assert (await post(model, "/v1/chat/completions", {"model": "m"}))[0] == 400
        assert (await post(model, "/v1/chat/completions", []))[0] == 400
        assert len(model.problems) == 4, "and the turn was never asked for"


@pytest.mark.parametrize("header", [{}, {"authorization": "Bearer other"}, {"x-api-key": "sesame2"}])
async def test_a_wrong_key_is_refused(header: Mapping[str, str]) -> None:
    async with play('key = "sesame"\nturns = [{ say = "done" }]') as model:
        assert (await post(model, "/v1/chat/completions", _chat(USER), header))[0] == 401
        assert (await post(model, "/v1/chat/completions", _chat(USER), {"authorization": "Bearer sesame"}))[0] == 200
        model.check()


async def test_faults_are_played_and_the_conversation_goes_on() -> None:
    script = """
    turns = [{ error = { status = 429, headers = { retry-after = "7" } } }, { cut = true, say = "cut" }, { say = "b" }]
    """
    async with play(script) as model:
        assert (await post(model, "/v1/chat/completions", _chat(USER)))[0] == 429
        with pytest.raises(http.client.IncompleteRead):
            await post(model, "/v1/chat/completions", _chat(USER, stream=True))
        assert (await post(model, "/v1/chat/completions", _chat(USER)))[0] == 200
        model.check()


async def test_conversations_side_by_side_are_told_apart() -> None:
    script = """
    [[conversations]]
    turns = [{ run = "a" }, { say = "first" }]
    [[conversations]]
    turns = [{ run = "b" }, { say = "second" }]
    """
    async with play(script) as model:
        calls = []
        for _ in range(2):
            answer = json.loads((await post(model, "/v1/chat/completions", _chat(USER)))[1])
            calls.append(answer["choices"][0]["message"])
        said = []
        for message in reversed(calls):
            result = {"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "ok"}
            answer = json.loads((await post(model, "/v1/chat/completions", _chat(USER, message, result)))[1])
            said.append(answer["choices"][0]["message"]["content"])
        assert said == ["second", "first"]
        model.check()
