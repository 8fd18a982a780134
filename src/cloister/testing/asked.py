"""What an agent asks a model, whatever the protocol."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_DIRECTORY = re.compile(
    r"(?:working directory(?: is)?|working in the directory|<cwd>|cwd)[:=]?\s*`?(/[^\s`<\"']*)", re.I
)
_STATUSES = (
    re.compile(r"exited with (?:code|status) (\d+)", re.I),
    re.compile(r"exit[ _]?(?:code|status)\"?:?\s*(\d+)", re.I),
    re.compile(r"<returncode>(\d+)</returncode>"),
    re.compile(r"\"?returncode\"?:\s*(\d+)"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A tool that the model may use."""

    name: str
    schema: Mapping[str, Any]
    """JSON schema of its arguments; empty for one that takes free text."""
    free: bool = False
    """It takes a text in place of arguments."""

    @property
    def properties(self) -> Mapping[str, Any]:
        """Its arguments."""
        found = self.schema.get("properties", {})
        return found if isinstance(found, dict) else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a tool call gave."""

    text: str
    failed: bool | None = None
    """None where the protocol does not say it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request for an answer of the model."""

    model: str
    stream: bool
    system: str
    said: Sequence[str]
    """What the model answered before."""
    prompts: Sequence[str]
    """What the user said since then."""
    results: Sequence[Result]
    """What the model's last calls gave."""
    tools: Sequence[Tool]
    body: Mapping[str, Any]

    @property
    def text(self) -> str:
        """All texts of the request."""
        return "\n".join(texts_in(self.body))

    @property
    def last_result(self) -> str | None:
        """What the last calls gave. An agent without tools tells it as what the user says."""
        if self.results:
            return "\n".join(result.text for result in self.results)
        return "\n".join(self.prompts) if self.said else None

    @property
    def status(self) -> int | None:
        """With which the last command ended; None when there was none, or the model is not told."""
        for pattern in _STATUSES:
            if found := pattern.findall(self.last_result or ""):
                return int(found[-1])
        told = [result.failed for result in self.results if result.failed is not None]
        return int(any(told)) if told else None

    @property
    def directory(self) -> str | None:
        """Where the agent says that it works."""
        found = _DIRECTORY.search(self.text)
        return found[1].rstrip("/.") if found else None

    @property
    def images(self) -> int:
        """How many images it has."""
        return sum(1 for part in objects_in(self.body) if _is_image(part))


def texts_in(value: object) -> Iterator[str]:
    """Yield every string in a JSON value."""
    match value:
        case str():
            yield value
        case dict():
            for item in value.values():
                yield from texts_in(item)
        case list():
            for item in value:
                yield from texts_in(item)


def objects_in(value: object) -> Iterator[Mapping[str, Any]]:
    """Yield every object in a JSON value."""
    match value:
        case dict():
            yield value
            for item in value.values():
                yield from objects_in(item)
        case list():
            for item in value:
                yield from objects_in(item)


def content_text(content: object) -> str:
    """Return the text of a message's content, which is one, or a list of parts."""
    match content:
        case str():
            return content
        case list():
            return "\n".join(text for part in content if (text := content_text(part)))
        case {"text": str(text)}:
            return text
        case {"content": inner}:
            return content_text(inner)
        case {"output": inner}:
            return content_text(inner)
        case dict():
            return json.dumps(content) if "type" not in content else ""
        case _:
            return ""


def _is_image(part: Mapping[str, Any]) -> bool:
    if part.get("type") in ("input_image", "image_url", "image"):
        return True
    inline = part.get("inlineData") or part.get("inline_data")
    kind = inline.get("mimeType", inline.get("mime_type", "")) if isinstance(inline, dict) else ""
    return str(kind).startswith("image/")
