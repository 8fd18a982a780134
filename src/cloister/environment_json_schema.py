"""The environment file's JSON Schema, for editors: made from the model that the file is read with."""

import ast
import inspect
import json
import tomllib
from typing import Any

from cloister import environment_schema
from cloister.environment_schema import EnvironmentTable
from cloister.model.quantity import DURATION_PATTERN, GIB, MIB, MINUTE, SIZE_PATTERN

DRAFT = "http://json-schema.org/draft-07/schema#"
"""Older than need be: editors of TOML know it."""
_UNITS: dict[str, dict[str, float]] = {
    DURATION_PATTERN: {"h": 60 * MINUTE, "m": MINUTE, "s": 1.0},
    SIZE_PATTERN: {"GiB": GIB, "MiB": MIB, "B": 1},
}

Schema = dict[str, Any]


def environment_json_schema() -> str:
    """Return the schema as JSON. What only a look at several keys or at the machine can tell is not in it."""
    raw = EnvironmentTable.model_json_schema()
    described = _with_descriptions(raw, raw.pop("$defs"), _docstrings())
    schema = {"$schema": DRAFT, "title": "Cloister's environment file", **described}
    return json.dumps(schema, indent=2) + "\n"


def _with_descriptions(schema: Schema, tables: Schema, said: dict[tuple[str, str], str]) -> Schema:
    """Return a schema as an editor wants it: nothing refers elsewhere, keys are described, values are TOML's."""
    if "$ref" in schema:
        return _with_descriptions(tables[schema["$ref"].rpartition("/")[2]], tables, said)
    owner = schema.get("title", "")
    made: Schema = {
        key: _inner(key, value, tables, said) for key, value in schema.items() if key not in ("title", "default")
    }
    for name, of_key in made.get("properties", {}).items():
        given = schema["properties"][name]
        description = said.get((owner, name)) or of_key.get("description")
        examples = {"examples": [_value(text) for text in given["examples"]]} if "examples" in given else {}
        made["properties"][name] = {
            **({"description": description} if description else {}),
            **{word: it for word, it in _without_null(of_key).items() if word not in ("description", "examples")},
            **_default(given),
            **examples,
        }
    if "patternProperties" in made:
        made["additionalProperties"] = False
    return made


def _inner(key: str, value: Any, tables: Schema, said: dict[tuple[str, str], str]) -> Any:
    if key in ("properties", "patternProperties"):
        return {name: _with_descriptions(inner, tables, said) for name, inner in value.items()}
    if key in ("items", "additionalProperties") and isinstance(value, dict):
        return _with_descriptions(value, tables, said)
    if key == "anyOf":
        return [_with_descriptions(inner, tables, said) for inner in value]
    return value


def _without_null(schema: Schema) -> Schema:
    """TOML has no null: a key is left out."""
    options = [option for option in schema.get("anyOf", []) if option != {"type": "null"}]
    if len(options) != 1:
        return schema
    return {**{key: value for key, value in schema.items() if key != "anyOf"}, **options[0]}


def _default(schema: Schema) -> Schema:
    value = schema.get("default")
    if value is None or isinstance(value, dict) or value == []:
        return {}
    units = _UNITS.get(schema.get("pattern", ""))
    if units is None:
        return {"default": value}
    unit = next(unit for unit, factor in units.items() if value % factor == 0)
    return {"default": f"{value / units[unit]:g}{unit}"}


def _value(toml: str) -> Any:
    return tomllib.loads(f"value = {toml}")["value"]


def _docstrings() -> dict[tuple[str, str], str]:
    """Return the docstring below each key of each table, by the names of both."""
    module = ast.parse(inspect.getsource(environment_schema))
    return {
        (table.name, key.target.id): " ".join(said.value.value.split())
        for table in module.body
        if isinstance(table, ast.ClassDef)
        for key, said in zip(table.body, table.body[1:], strict=False)
        if isinstance(key, ast.AnnAssign) and isinstance(key.target, ast.Name)
        if isinstance(said, ast.Expr) and isinstance(said.value, ast.Constant) and isinstance(said.value.value, str)
    }
