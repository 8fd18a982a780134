"""The fields of the form for an environment file: made of its JSON Schema, so that no key is forgotten."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any

from cloister.environment_json_schema import environment_json_schema

_LEFT_OUT = ("name",)
"""A stored environment is called as it is stored."""
_SCRIPTS = ("script", "maintenance", "command", "value")
GENERAL = "general"
"""The group of the keys that are in no table."""


class Kind(StrEnum):
    """What stands in a field."""

    LINE = "line"
    SCRIPT = "script"
    LIST = "list"
    """One entry on each line."""
    CHOICE = "choice"
    FLAG = "flag"
    WHOLE = "whole"
    NUMBER = "number"


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One key, or one key of each entry of a table of entries."""

    path: tuple[str, ...]
    kind: Kind
    description: str
    default: str
    """What applies when it is left empty; empty when nothing does."""
    example: str
    options: tuple[str, ...] = ()
    numbers: bool = False
    """Whether the entries of a list are numbers."""

    @property
    def key(self) -> str:
        """How the form calls it."""
        return ".".join(self.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entries:
    """A table whose keys are the user's: variables, secrets, services, checks."""

    name: str
    fields: tuple[Field, ...]
    """Of each entry; the path of `value` is that of an entry which is text and nothing else."""
    short: str | None
    """The key that text in place of an entry's table stands for."""

    @property
    def is_plain(self) -> bool:
        """Whether entries are text."""
        return [field.path for field in self.fields] == [("value",)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A table of the file."""

    name: str
    description: str
    fields: tuple[Field, ...] = ()
    entries: Entries | None = None


@cache
def groups() -> Sequence[Group]:
    """Return all of them, in the order of the file."""
    properties: Mapping[str, Any] = json.loads(environment_json_schema())["properties"]
    general = tuple(
        _field((name,), schema)
        for name, schema in properties.items()
        if schema["type"] != "object" and name not in _LEFT_OUT
    )
    first = Group(name=GENERAL, description="", fields=general)
    return (first, *(_group(name, schema) for name, schema in properties.items() if schema["type"] == "object"))


def fields() -> Iterator[Field]:
    """Yield those that are no part of entries."""
    for group in groups():
        yield from group.fields


def tables() -> Iterator[Entries]:
    """Yield the tables of entries."""
    for group in groups():
        if group.entries is not None:
            yield group.entries


def _group(name: str, schema: Mapping[str, Any]) -> Group:
    description = schema.get("description", "")
    if "patternProperties" not in schema:
        own = tuple(_field((name, key), inner) for key, inner in schema["properties"].items())
        return Group(name=name, description=description, fields=own)
    (value,) = schema["patternProperties"].values()
    if value.get("type") == "string":
        plain = Entries(name=name, fields=(_field(("value",), value),), short=None)
        return Group(name=name, description=description, entries=plain)
    table = next(option for option in (value, *value.get("anyOf", ())) if "properties" in option)
    own = tuple(_field((key,), inner) for key, inner in table["properties"].items())
    entries = Entries(name=name, fields=own, short=own[0].key if "anyOf" in value else None)
    return Group(name=name, description=description, entries=entries)


def _field(path: tuple[str, ...], schema: Mapping[str, Any]) -> Field:
    default, examples = schema.get("default", ""), schema.get("examples", [""])
    kinds = {"boolean": Kind.FLAG, "integer": Kind.WHOLE, "number": Kind.NUMBER, "array": Kind.LIST}
    kind = kinds.get(schema["type"], Kind.SCRIPT if path[-1] in _SCRIPTS else Kind.LINE)
    return Field(
        path=path,
        kind=Kind.CHOICE if "enum" in schema else kind,
        description=schema.get("description", ""),
        default=to_text(default),
        example=to_text(examples[0]),
        options=tuple(schema.get("enum", ())),
        numbers=schema.get("items", {}).get("type") == "integer",
    )


def to_text(value: object) -> str:
    """Return a value as a field shows it; a table, which no field can show, as nothing."""
    match value:
        case bool():
            return "true" if value else "false"
        case list():
            return "\n".join(to_text(each) for each in value)
        case dict() | None:
            return ""
    return str(value)
