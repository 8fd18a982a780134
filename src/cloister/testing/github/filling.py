"""Completes what the forge knows of a thing with what its description requires beside."""

from collections.abc import Mapping
from typing import Any

from cloister.testing.github.description import Description

_TEXTS = {
    "date-time": "2026-01-01T00:00:00Z",
    "date": "2026-01-01",
    "uri": "https://github.invalid/",
    "uri-template": "https://github.invalid/{x}",
    "email": "nobody@example.com",
}


def fill(description: Description, schema: Mapping[str, Any], known: object) -> Any:
    """Return `known` with every property that the schema requires and that it lacks, as plain as the schema allows.

    AssertionError for a property that the schema does not know: that would be a forge of our own invention.
    """
    schema = _chosen(description, schema, known)
    if isinstance(known, list):
        return [fill(description, schema.get("items", {}), each) for each in known]
    if not isinstance(known, Mapping):
        return known
    properties = _properties(description, schema)
    if schema.get("additionalProperties") in (None, False) and properties:
        unknown = known.keys() - properties.keys()
        assert not unknown, f"GitHub's description knows no {', '.join(sorted(unknown))} here"
    filled = {name: fill(description, properties.get(name, {}), value) for name, value in known.items()}
    for name in _required(description, schema):
        if name not in filled:
            filled[name] = _plainest(description, properties[name])
    return filled


def _chosen(description: Description, schema: Mapping[str, Any], known: object) -> Mapping[str, Any]:
    """Follow references, and of alternatives take the first that has properties or items for what is known."""
    schema = description.resolved(schema)
    for word in ("anyOf", "oneOf"):
        for alternative in schema.get(word, ()):
            chosen = _chosen(description, alternative, known)
            if isinstance(known, Mapping) and known.keys() <= _properties(description, chosen).keys():
                return chosen
            if isinstance(known, list) and chosen.get("type") == "array":
                return chosen
        if schema.get(word) and isinstance(known, Mapping):
            return _chosen(description, schema[word][0], known)  # whose properties are then what is missed
    return schema


def _parts(description: Description, schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [schema, *(description.resolved(part) for part in schema.get("allOf", ()))]


def _properties(description: Description, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {name: it for part in _parts(description, schema) for name, it in part.get("properties", {}).items()}


def _required(description: Description, schema: Mapping[str, Any]) -> list[str]:
    return [name for part in _parts(description, schema) for name in part.get("required", ())]


def _plainest(description: Description, schema: Mapping[str, Any]) -> object:
    schema = description.resolved(schema)
    alternatives = [description.resolved(each) for each in schema.get("anyOf") or schema.get("oneOf") or ()]
    kinds = schema.get("type", ())
    if "null" in kinds or any(each.get("type") == "null" for each in alternatives):
        return None
    if alternatives:
        return _plainest(description, alternatives[0])
    if "enum" in schema:
        return schema["enum"][0]
    kind = kinds if isinstance(kinds, str) else next(iter(kinds), "object")
    if kind == "object":
        return fill(description, schema, {})
    if kind == "string":
        return _TEXTS.get(schema.get("format", ""), "")
    return {"array": [], "integer": 0, "number": 0, "boolean": False}[kind]
