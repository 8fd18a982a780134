"""What real agents ask besides answers of the model, and get without a turn. Each was found by running them."""

import json
from collections.abc import Mapping
from typing import Any

from cloister.testing.answer import Answer, filler
from cloister.testing.asked import Asked
from cloister.testing.script import TokenCounts

_OWN = {
    "You are a title generator.": "A title",  # opencode
    "title (3-7 words)": '{"title": "A title"}',  # Claude Code
}
"""What the system prompts of such requests say, and what is answered."""


def side_reply(method: str, path: str, body: bytes) -> Mapping[str, Any] | None:
    """Answer what needs no model: which models there are, how many tokens a text has."""
    if method == "HEAD" and not path:  # Claude Code, before its first request
        return {}
    if method == "GET" and path.endswith("/models"):
        return {"object": "list", "data": [], "models": []}
    if path.endswith("/count_tokens"):
        return {"input_tokens": max(1, len(body) // 4)}
    if path.endswith(":countTokens"):
        return {"totalTokens": max(1, len(body) // 4)}
    return None


def side_answer(asked: Asked) -> Answer | None:
    """Answer what an agent asks a model for itself, such as a title for its session."""
    if asked.tools:
        return None
    for part, text in _OWN.items():
        if part in asked.system:
            return Answer(id="aside", text=text, thinking="", calls=(), usage=TokenCounts())
    schema = asked.body.get("generationConfig", {}).get("responseJsonSchema")
    if schema:  # gemini: which model a prompt needs, who speaks next
        return Answer(id="aside", text=json.dumps(filler(schema)), thinking="", calls=(), usage=TokenCounts())
    return None
