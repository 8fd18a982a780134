"""GitHub's published description of its API, and whether a request and an answer are as it says."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

from jsonschema import Draft202012Validator

_FILE = Path(__file__).with_name("api.json")
_WHOLE_NUMBER = re.compile(r"-?[0-9]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """An operation, and what its address says."""

    path: str
    """As the description has it: `/repos/{owner}/{repo}`."""
    method: str
    operation: Mapping[str, Any]
    values: Mapping[str, str]
    """Of the path."""
    query: Mapping[str, str] = field(default_factory=dict)


class Description:
    """What `api.json` says; `trim` made it."""

    def __init__(self) -> None:
        self._document: dict[str, Any] = json.loads(_FILE.read_bytes())

    @cached_property
    def _patterns(self) -> list[tuple[str, re.Pattern[str]]]:
        return [(path, re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(path)))) for path in self._paths]

    @property
    def _paths(self) -> Mapping[str, Any]:
        paths: Mapping[str, Any] = self._document["paths"]
        return paths

    def find(self, method: str, raw_path: str, query: str) -> Called | None:
        """Return the operation that is called; None when the subset has no such. The path is as it was sent."""
        for path, pattern in self._patterns:
            if (match := pattern.fullmatch(raw_path)) and method.lower() in self._paths[path]:
                return Called(
                    path=path,
                    method=method.lower(),
                    operation=self._paths[path][method.lower()],
                    values={name: unquote(value) for name, value in match.groupdict().items()},
                    query=dict(parse_qsl(query, keep_blank_values=True)),
                )
        return None

    def check_request(self, called: Called, body: object | None) -> list[str]:
        """Say what of a request is not as described; more parameters or properties than described are wrong too."""
        wrong = []
        described = [self.resolved(it) for it in called.operation.get("parameters", ())]
        query = {it["name"]: it for it in described if it["in"] == "query"}
        wrong += [f"query: {name} is not described" for name in called.query.keys() - query.keys()]
        for it in described:
            given = {"query": called.query, "path": called.values}.get(it["in"], {})
            if it["name"] in given:
                value = _typed(given[it["name"]], self.resolved(it["schema"]))
                wrong += [f"{it['in']} {it['name']}: {problem}" for problem in self._problems(value, it["schema"])]
            elif it.get("required") and it["in"] in ("query", "path"):
                wrong.append(f"{it['in']} {it['name']} is missing")
        return wrong + self._check_body(called, body)

    def _check_body(self, called: Called, body: object | None) -> list[str]:
        described = self.resolved(called.operation.get("requestBody", {}))
        if not described:
            return [] if body is None else ["body: none is described"]
        if body is None:
            return ["body: is missing"] if described.get("required") else []
        schema = described["content"]["application/json"]["schema"]
        wrong = [f"body: {problem}" for problem in self._problems(body, schema)]
        known = self.resolved(schema).get("properties")
        if known is not None and isinstance(body, dict):
            wrong += [f"body: {name} is not described" for name in body.keys() - known.keys()]
        return wrong

    def check_answer(self, called: Called, status: int, body: object | None) -> list[str]:
        """Say what of an answer is not as described."""
        described = called.operation["responses"].get(str(status))
        if described is None:
            return [f"status {status} is not described"]
        schema = self.answer_schema(called, status)
        if schema is None:
            return [] if body is None else ["body: none is described"]
        return [f"body: {problem}" for problem in self._problems(body, schema)]

    def answer_schema(self, called: Called, status: int) -> Mapping[str, Any] | None:
        """Return the schema of an answer's body; None when it has none."""
        described = self.resolved(called.operation["responses"][str(status)])
        content = described.get("content", {})
        schema: Mapping[str, Any] | None = content.get("application/json", {}).get("schema")
        return schema

    def resolved(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        """Follow a reference."""
        while "$ref" in schema:
            _, _, kind, name = schema["$ref"].split("/")
            schema = self._document["components"][kind][name]
        return schema

    def _problems(self, value: object, schema: Mapping[str, Any]) -> list[str]:
        whole = {**schema, "components": self._document["components"]}
        validator = Draft202012Validator(whole, format_checker=Draft202012Validator.FORMAT_CHECKER)
        return [f"{error.json_path}: {error.message[:300]}" for error in validator.iter_errors(value)]


def _typed(text: str, schema: Mapping[str, Any]) -> object:
    if schema.get("type") == "integer" and _WHOLE_NUMBER.fullmatch(text):
        return int(text)
    if schema.get("type") == "boolean" and text in ("true", "false"):
        return text == "true"
    return text
