"""Takes single values out of JSON while it passes by, in little memory however long it is. It never fails.

Only members of objects inside of objects are looked at. Where a text is not JSON, whatever is found is as good as
nothing, and nobody has to trust it further than the server that sent it.
"""

import json
import re
from collections.abc import Collection

Path = tuple[str, ...]

_STRUCTURE = re.compile(rb'["{}\[\],:]')
_BRACKETS = re.compile(rb'["{}\[\]]')
_TEXT = re.compile(rb'[^"\\]*(?:\\.[^"\\]*)*', re.DOTALL)
_LONGEST_VALUE = 512
"""Bytes of a key or a value; what is longer is not the one that is looked for."""
_QUOTE, _COLON, _COMMA = b'":,'
_OPEN_OBJECT, _CLOSE_OBJECT, _OPEN_ARRAY = b"{}["


class JsonPicker:
    """Of one text: an object, or an array of such, of which the last one wins."""

    def __init__(self, wanted: Collection[Path]) -> None:
        """`wanted` are names of members, from the outermost object inwards."""
        self._leaves = frozenset(wanted)
        self._branches = frozenset(path[:length] for path in wanted for length in range(len(path)))
        self.found: dict[Path, object] = {}
        """Numbers, strings, booleans and nulls, by path."""
        self._path: Path = ()
        """Of the innermost object that is looked at."""
        self._level = 0
        """How many objects are looked at, one inside the other."""
        self._skipped = 0
        """How many objects and arrays are open whose content is not looked at."""
        self._key = ""
        self._at_key = False
        self._in_string = False
        self._taken: bytearray | None = None
        """What was read by now of a key or a value that matters."""
        self._held = b""
        """A backslash whose character has not come yet."""

    def feed(self, data: bytes) -> None:
        """Read on."""
        data, self._held = self._held + data, b""
        at = 0
        while at < len(data):
            at = self._read_string(data, at) if self._in_string else self._read_structure(data, at)

    def _read_string(self, data: bytes, at: int) -> int:
        match = _TEXT.match(data, at)
        end = match.end() if match is not None else at
        self._take(data[at:end])
        if end == len(data):
            return end
        if data[end] != _QUOTE:  # a backslash, and nothing behind it yet
            self._held = data[end:]
            return len(data)
        self._take(b'"')
        self._in_string = False
        if self._at_key and not self._skipped and self._level:
            self._key, self._taken = str(self._taken_value()), None
        return end + 1

    def _read_structure(self, data: bytes, at: int) -> int:
        match = (_BRACKETS if self._skipped else _STRUCTURE).search(data, at)
        end = match.start() if match is not None else len(data)
        self._take(data[at:end])
        if match is None:
            return end
        if data[end] == _QUOTE:
            self._in_string = True
            if self._at_key and not self._skipped:
                self._taken = bytearray()
            self._take(b'"')
        elif self._skipped:
            self._skipped += 1 if data[end] in b"{[" else -1
        else:
            self._mark(data[end])
        return end + 1

    def _mark(self, mark: int) -> None:
        if mark == _OPEN_OBJECT:
            self._open_object()
        elif mark == _OPEN_ARRAY:
            self._skipped = 1 if self._level else 0
            self._taken = None
        elif mark == _COLON:
            self._begin_value()
        elif mark == _COMMA:
            self._end_value()
            self._at_key = self._level > 0
        elif mark == _CLOSE_OBJECT:
            self._end_value()
            self._level = max(self._level - 1, 0)
            self._path = self._path[:-1]
            self._at_key = False

    def _open_object(self) -> None:
        self._taken = None
        here = (*self._path, self._key) if self._level else ()
        if self._level and here not in self._branches:
            self._skipped = 1
            return
        self._path, self._level, self._at_key = here, self._level + 1, True

    def _begin_value(self) -> None:
        here = (*self._path, self._key)
        self._at_key = False
        if here in self._branches or here in self._leaves:  # of two members of one name, the second one counts
            self.found = {path: value for path, value in self.found.items() if path[: len(here)] != here}
        self._taken = bytearray() if here in self._leaves else None

    def _end_value(self) -> None:
        if self._taken is not None and self._level and not self._at_key:
            value = self._taken_value()
            if isinstance(value, str | int | float | None):
                self.found[*self._path, self._key] = value
        self._taken = None

    def _take(self, data: bytes) -> None:
        if self._taken is not None:
            self._taken += data[: _LONGEST_VALUE + 1 - len(self._taken)]

    def _taken_value(self) -> object:
        """Return what was taken; something that is no value for what is none, or too long."""
        taken = bytes(self._taken or b"")
        try:
            value: object = json.loads(taken) if len(taken) <= _LONGEST_VALUE else ()
            if isinstance(value, str):
                value.encode()  # half of a surrogate pair is no text
        except (ValueError, RecursionError):
            return ()
        return value
