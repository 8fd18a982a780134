"""A TOML document that knows where each key is written, so that an error can name the line."""

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from cloister.toml_text import load_toml

LARGEST_DOCUMENT_BYTES = 256 * 1024
_MOST_LINES_SEARCHED = 500
"""Lines are found by parsing ever longer beginnings of the text, which is quadratic; longer texts get no line."""

_LARGEST_TEXT_SEARCHED = 64 * 1024

_MOST_PROBLEMS_SHOWN = 10

_SYNTAX_PLACE = re.compile(r" \(at line (\d+), column (\d+)\)$")
_WORDS = {
    "Input should be": "must be",
    "Field required": "is missing",
    "a valid ": "a ",
    "a integer": "an integer",
    "a tuple": "a list",
}
_TYPE_ERRORS = re.compile(r".*_(type|from_float|parsing)$")
_TOML_TYPES = {bool: "a boolean", int: "an integer", float: "a float", str: "a string", list: "a list", dict: "a table"}

KeyPath = tuple[str, ...]


class TomlSyntaxError(ValueError):
    """The text is not TOML. The message names source, line and column."""


@dataclass(frozen=True)
class Problem:
    """What is wrong with one key."""

    path: KeyPath
    message: str


@dataclass(frozen=True)
class TomlDocument:
    """Parsed TOML and the text it came from."""

    source: str
    """Where it came from, for messages."""
    text: str
    data: Mapping[str, object]

    def describe(self, problems: Sequence[Problem]) -> str:
        """Return `source, line N: message` for each, in the order of the file; no line where it is not known."""
        told = sorted((self._lines.get(problem.path, 0), problem.message) for problem in problems)
        shown = [f"{self.source}, line {line}: {text}" if line else f"{self.source}: {text}" for line, text in told]
        more = [f"... and {len(shown) - _MOST_PROBLEMS_SHOWN} more"] if len(shown) > _MOST_PROBLEMS_SHOWN else []
        return "\n".join([*shown[:_MOST_PROBLEMS_SHOWN], *more])

    @cached_property
    def _lines(self) -> Mapping[KeyPath, int]:
        """First line of the statement that makes each key: the first beginning of the text that has it."""
        lines = self.text.split("\n")
        if len(lines) > _MOST_LINES_SEARCHED or len(self.text) > _LARGEST_TEXT_SEARCHED:
            return {}
        found: dict[KeyPath, int] = {}
        statement = 1
        for end in range(1, len(lines) + 1):
            try:
                beginning = tomllib.loads("\n".join(lines[:end]) + "\n")
            except tomllib.TOMLDecodeError:  # in the middle of a string or a list
                continue
            for path in _paths(beginning):
                found.setdefault(path, statement)
            statement = end + 1
        return found


def parse_toml(raw: bytes, *, source: str) -> TomlDocument:
    """Return the document. Raises TomlSyntaxError."""
    if len(raw) > LARGEST_DOCUMENT_BYTES:
        raise TomlSyntaxError(f"{source}: is larger than {LARGEST_DOCUMENT_BYTES // 1024} KiB")
    try:
        text = raw.decode().replace("\r\n", "\n")
        return TomlDocument(source=source, text=text, data=load_toml(text))
    except UnicodeDecodeError as error:
        raise TomlSyntaxError(f"{source}: byte {error.start} is not UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        place = _SYNTAX_PLACE.search(message)
        where = f", line {place[1]}, column {place[2]}" if place else ""
        raise TomlSyntaxError(f"{source}{where}: not TOML: {_SYNTAX_PLACE.sub('', message)}") from error
    except ValueError as error:
        raise TomlSyntaxError(f"{source}: {error}") from error


def problems_of(error: ValidationError, schema: type[BaseModel]) -> list[Problem]:
    """Say each of a validation's errors in the words of the file: key, what is wrong, what to write."""
    return [
        _problem(
            tuple(str(part) for part in detail["loc"] if isinstance(part, str) and part != "[key]"),
            kind=detail["type"],
            message=str(detail.get("ctx", {}).get("error", detail["msg"])),
            value=detail["input"],
            schema=schema,
        )
        for detail in error.errors()
    ]


def nearest(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean ...?`, or the list of all that is known when nothing is near."""
    candidates = sorted(known)
    close = difflib.get_close_matches(word.lower(), candidates, n=1, cutoff=0.6)
    return f"; did you mean `{close[0]}`?" if close else f"; known here: {', '.join(candidates)}"


def _problem(path: KeyPath, *, kind: str, message: str, value: object, schema: type[BaseModel]) -> Problem:
    key = ".".join(path)
    if kind == "extra_forbidden":
        table = _annotation_at(schema, path[:-1])
        known = table.model_fields if _is_model(table) else {}
        return Problem(path, f"unknown key `{key}`{nearest(path[-1], known)}")
    for theirs, ours in _WORDS.items():
        message = message.replace(theirs, ours)
    if kind in ("model_type", "dict_type"):
        message = "must be a table"
    if _TYPE_ERRORS.fullmatch(kind):
        message += f", not {_TOML_TYPES.get(type(value), 'this')}"
    return Problem(path, f"`{key}`: {message}{_example(schema, path)}")


def _example(schema: type[BaseModel], path: KeyPath) -> str:
    if not path:
        return ""
    table = _annotation_at(schema, path[:-1])
    field = table.model_fields.get(path[-1]) if _is_model(table) else None
    return f"; for example `{path[-1]} = {field.examples[0]}`" if field and field.examples else ""


def _annotation_at(schema: Any, path: Sequence[str]) -> Any:
    """Follow a key path through nested models and mappings; None where it leaves them."""
    for part in path:
        if _is_model(schema):
            field = schema.model_fields.get(part)
            schema = _bare(field.annotation) if field else None
        elif get_origin(schema) is dict:
            schema = _bare(get_args(schema)[1])
        else:
            return None
    return schema


def _bare(annotation: Any) -> Any:
    """Take `Annotated`, `| None` and lists away."""
    if get_origin(annotation) in (Annotated, list, tuple):
        return _bare(get_args(annotation)[0])
    options = [option for option in get_args(annotation) if option is not type(None)]
    return _bare(options[0]) if type(None) in get_args(annotation) and len(options) == 1 else annotation


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _paths(table: Mapping[str, object], above: KeyPath = ()) -> Iterable[KeyPath]:
    for key, value in table.items():
        yield (*above, key)
        if isinstance(value, dict):
            yield from _paths(value, (*above, key))
