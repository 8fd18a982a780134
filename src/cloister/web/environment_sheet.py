"""The form of an environment beside its text: what fields show of it, and what a change of them makes of the text.

Comments, order and spelling of all that is not changed stay. Who changes what is found out from the fields as they were
shown, so that a form that is older than the text takes nothing of it back.
"""

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import Table, Whitespace

from cloister.errors import EnvironmentFileError
from cloister.importing.toml_writer import string
from cloister.neutral_text import neutralize
from cloister.toml_document import TomlSyntaxError, parse_toml
from cloister.web.environment_fields import Entries, Field, Kind, fields, tables, to_text

MOST_ROWS = 40
"""Entries of one table that the form shows; of a longer one it shows none, and leaves it to the text."""
_WHOLE = re.compile(r"[+-]?\d{1,18}", re.ASCII)
_NUMBER = re.compile(r"[+-]?\d{1,18}(\.\d{1,18})?", re.ASCII)
_SEPARATORS = re.compile(r"[\s,]+")
_ONE_LINE = frozenset({Kind.LINE, Kind.WHOLE, Kind.NUMBER, Kind.CHOICE, Kind.FLAG})

Sheet = Mapping[str, str]
"""What stands in the form: `network.agent`; of the first check `checks[0]`, its name, and `checks[0].command`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One key of the text that gets another value, or goes."""

    path: tuple[str, ...]
    value: Any
    """None: it goes."""


def read_sheet(text: str, source: str) -> Sheet:
    """Return what the form shows of a text. EnvironmentFileError when it is not TOML."""
    data = _parse(text, source)
    sheet = {field.key: _shown(_at(data, field.path), field.kind) for field in fields()}
    for table in tables():
        for number, (name, value) in enumerate(_entries(data, table)):
            place = f"{table.name}[{number}]"
            sheet[place] = _clean(name, Kind.LINE)
            for field in table.fields:
                sheet[f"{place}.{field.key}"] = _shown(_part(table, value, field), field.kind)
    return sheet


def left_to_the_text(text: str, source: str) -> frozenset[str]:
    """Return the tables of entries that the form does not show, because they are long or no tables."""
    data = _parse(text, source)
    return frozenset(table.name for table in tables() if table.name in data and not _is_shown(data, table))


def change_text(text: str, was: Sheet, now: Sheet, source: str) -> str:
    """Return the text with what is other in the form now than it was. EnvironmentFileError when that cannot be."""
    data = _parse(text, source)
    changes = [*_field_changes(was, now), *_entry_changes(data, was, now)]
    if not changes:
        return text
    document = tomlkit.parse(text)
    try:
        for change in changes:
            _apply(document, change, _item, tomlkit.table)
            _apply(data, change, _same, dict)
        made = tomlkit.dumps(document)
    except (TOMLKitError, TypeError, KeyError, ValueError) as error:
        raise EnvironmentFileError(f"{source}: the form cannot change this: {error}", hint="change the text") from error
    if tomllib.loads(made) != data:
        raise EnvironmentFileError(f"{source}: the form cannot change this as it is written", hint="change the text")
    return made


def rows_of(sheet: Sheet, table: Entries) -> int:
    """Return how many entries of a table a sheet has."""
    return next(number for number in range(len(sheet) + 1) if f"{table.name}[{number}]" not in sheet)


def names_in(sheet: Sheet) -> Mapping[str, str]:
    """Return the names of all entries, by their places."""
    return {place: name for place, name in sheet.items() if place.endswith("]")}


def _parse(text: str, source: str) -> dict[str, Any]:
    try:
        return dict(parse_toml(text.encode(errors="surrogatepass"), source=source).data)
    except TomlSyntaxError as error:
        raise EnvironmentFileError(str(error)) from error


def _entries(data: Mapping[str, Any], table: Entries) -> Iterator[tuple[str, Any]]:
    if _is_shown(data, table):
        yield from data[table.name].items()


def _is_shown(data: Mapping[str, Any], table: Entries) -> bool:
    found = data.get(table.name)
    return isinstance(found, dict) and len(found) <= MOST_ROWS


def _part(table: Entries, value: Any, field: Field) -> Any:
    if not isinstance(value, dict):
        return value if table.is_plain or field.key == table.short else None
    return value.get(field.key)


def _at(data: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        data = data.get(key) if isinstance(data, dict) else None
    return data


def _shown(value: Any, kind: Kind) -> str:
    return "" if value is None else _clean(to_text(value), kind)


def _clean(text: str, kind: Kind) -> str:
    """Return it as a browser gives it back when nobody touched it; see `page` for what it is shown as."""
    harmless = neutralize(text).encode(errors="replace").decode()
    return "".join(harmless.split("\n")) if kind in _ONE_LINE else harmless


def _field_changes(was: Sheet, now: Sheet) -> Iterator[Change]:
    for field in fields():
        if (text := now.get(field.key)) is not None and text != was.get(field.key, ""):
            yield Change(path=field.path, value=_value(field, text))


def _entry_changes(data: Mapping[str, Any], was: Sheet, now: Sheet) -> Iterator[Change]:
    for table in tables():
        for number in range(rows_of(now, table)):
            yield from _row_changes(data, table, was, now, f"{table.name}[{number}]")


def _row_changes(data: Mapping[str, Any], table: Entries, was: Sheet, now: Sheet, place: str) -> Iterator[Change]:
    keys = [f"{place}.{field.key}" for field in table.fields]
    former, name = was.get(place, ""), now[place].strip()
    changed = {
        field.key: _value(field, now[key])
        for field, key in zip(table.fields, keys, strict=True)
        if key in now and now[key] != was.get(key, "")
    }
    if not name or (name == former and not changed):
        if former and not name:
            yield Change(path=(table.name, former), value=None)
        return
    value = _at(data, (table.name, former)) if former else None
    if name == former and isinstance(value, dict):
        for key, part in changed.items():
            yield Change(path=(table.name, name, key), value=part)
        return
    if former and name != former:
        yield Change(path=(table.name, former), value=None)
    yield Change(path=(table.name, name), value=_entry(table, value, changed))


def _entry(table: Entries, value: Any, changed: Mapping[str, Any]) -> Any:
    """Return what an entry is after a change: text where text is enough."""
    if table.is_plain:
        return changed.get("value", value) or ""
    before = value if isinstance(value, dict) else {} if value is None else {table.short: value}
    after = {key: part for key, part in {**before, **changed}.items() if part is not None}
    is_short = table.short is not None and after.keys() <= {table.short}
    return after.get(table.short, "") if is_short else after


def _value(field: Field, text: str) -> Any:
    """Return what a field's text is in TOML. What cannot be what it should be is text, for the reader to refuse."""
    if field.kind is Kind.SCRIPT or field.path == ("value",):
        return text or None
    words = [word for word in _SEPARATORS.split(text) if word]
    match field.kind:
        case Kind.LIST:
            return [int(word) if field.numbers and _WHOLE.fullmatch(word) else word for word in words] or None
        case Kind.WHOLE if _WHOLE.fullmatch(text.strip().replace("_", "")):
            return int(text.strip().replace("_", ""))
        case Kind.NUMBER if _NUMBER.fullmatch(text.strip()):
            return float(text)
        case Kind.FLAG if text in ("true", "false"):
            return text == "true"
    return text.strip() or None


def _apply(
    place: MutableMapping[str, Any], change: Change, item: Callable[[Any], Any], table: Callable[[], Any]
) -> None:
    *above, key = change.path
    for name in above:
        if name not in place:
            if change.value is None:
                return
            place[name] = table()
        place = place[name]
    if change.value is None:
        place.pop(key, None)
        return
    behind = _take_what_follows(place) if key not in place else []
    place[key] = item(change.value)
    if behind:
        place.value.body.extend(behind)  # type: ignore[attr-defined]  # it is a table of tomlkit's


def _take_what_follows(place: MutableMapping[str, Any]) -> list[Any]:
    """Take from the end of a table the comments that stand apart: they are about the table that follows."""
    if not isinstance(place, Table):
        return []
    body = place.value.body
    start = next((number for number in range(len(body), 0, -1) if body[number - 1][0] is not None), 0)
    apart = next((at for at in range(start, len(body)) if isinstance(body[at][1], Whitespace)), len(body))
    behind = body[apart:]
    del body[apart:]
    return behind


def _same(value: Any) -> Any:
    return value


def _item(value: Any) -> Any:
    """Return a value as it is written."""
    match value:
        case str():
            return tomlkit.value(string(value))
        case dict():
            inline = tomlkit.inline_table()
            for key, part in value.items():
                inline[key] = _item(part)
            return inline
        case list():
            array = tomlkit.array().multiline(len(value) > 3)
            for part in value:
                array.append(_item(part))
            return array
    return tomlkit.item(value)
