"""Reads YAML and JSON with comments that strangers wrote, within bounds."""

from dataclasses import dataclass

import pyjson5
import yaml

from cloister.errors import UsageError

LARGEST_SOURCE_BYTES = 64 * 1024
MOST_NODES = 20_000
"""Of a document, those counted again that an alias repeats ("billion laughs")."""
DEEPEST = 40


@dataclass(frozen=True, slots=True)
class Item:
    """A part of a YAML document: text, a list, or a table. Nothing is taken for a number, a date or a truth."""

    line: int
    content: "str | list[Item] | dict[str, Item]"

    @property
    def text(self) -> str | None:
        """The text; None when it is none."""
        return self.content if isinstance(self.content, str) else None

    @property
    def items(self) -> "list[Item]":
        """The list's; a text is a list of one."""
        if isinstance(self.content, list):
            return self.content
        return [self] if isinstance(self.content, str) and self.content else []

    @property
    def table(self) -> "dict[str, Item]":
        """The table; empty when it is none."""
        return self.content if isinstance(self.content, dict) else {}

    def find(self, *keys: str) -> "Item | None":
        """Return what is at these keys, one below the other."""
        found: Item | None = self
        for key in keys:
            found = found.table.get(key) if found else None
        return found

    def find_text(self, *keys: str) -> str:
        """Return the text at these keys, `""` when there is none."""
        found = self.find(*keys)
        return (found.text if found else None) or ""


def decode(raw: bytes, path: str) -> str:
    """Return the text of a file. UsageError when it is too large, or not UTF-8."""
    if len(raw) > LARGEST_SOURCE_BYTES:
        raise UsageError(f"{path} is larger than {LARGEST_SOURCE_BYTES // 1024} KiB")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: byte {error.start} is not UTF-8") from error


def parse_yaml(raw: bytes, path: str) -> Item:
    """Return the document. UsageError when it is none, or goes past a bound."""
    text = decode(raw, path)
    try:
        node = yaml.compose(text, Loader=yaml.BaseLoader)
        return _Reader(path).read(node) if node is not None else Item(1, {})
    except RecursionError as error:
        raise UsageError(f"{path}: is nested too deeply") from error
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UsageError(f"{path}{line}: not YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise UsageError(f"{path}: not YAML: {error}") from error


def parse_json(raw: bytes, path: str) -> dict[str, object]:
    """Return the object of JSON with comments and trailing commas. UsageError when it is none."""
    text = decode(raw, path)
    try:
        document = pyjson5.decode(text, maxdepth=DEEPEST)
    except pyjson5.Json5NestingTooDeep as error:
        raise UsageError(f"{path}: is nested too deeply") from error
    except pyjson5.Json5Exception as error:
        raise UsageError(f"{path}: not JSON: {error.args[0]}") from error
    if not isinstance(document, dict):
        raise UsageError(f"{path}: holds no object")
    return document


class _Reader:
    """Turns YAML's nodes into items, and counts them."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._left = MOST_NODES

    def read(self, node: yaml.Node, depth: int = 0, line: int | None = None) -> Item:
        """`line` is that of the node's key, when it has one."""
        self._left -= 1
        if self._left < 0 or depth > DEEPEST:
            kind = "nested too deeply" if depth > DEEPEST else f"a document of more than {MOST_NODES:,} parts"
            raise UsageError(f"{self._path}: is {kind}")
        line = line or _line(node)
        if isinstance(node, yaml.MappingNode):
            pairs = ((key, value) for key, value in node.value if isinstance(key, yaml.ScalarNode))
            return Item(line, {str(key.value): self.read(value, depth + 1, _line(key)) for key, value in pairs})
        if isinstance(node, yaml.SequenceNode):
            return Item(line, [self.read(child, depth + 1) for child in node.value])
        empty = isinstance(node, yaml.ScalarNode) and node.style is None and node.value in ("~", "null", "Null", "NULL")
        return Item(line, "" if empty else str(node.value))


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
