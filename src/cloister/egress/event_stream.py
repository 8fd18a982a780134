"""Server-sent events, taken apart while they pass by, whatever pieces they come in (WHATWG HTML, 9.2.6)."""

import re
from collections.abc import Callable

_LINE = re.compile(rb"([^\r\n]*)(\r\n|\r|\n)?")
_DATA = b"data:"


class EventStream:
    """Of one response. It holds no more than the beginning of a line."""

    def __init__(self, on_data: Callable[[bytes], None], on_end: Callable[[], None]) -> None:
        """`on_data` is told what an event's data consists of, in pieces; `on_end` that an event with data is over."""
        self._on_data = on_data
        self._on_end = on_end
        self._name = b""
        """The beginning of the line, until it says which field it is."""
        self._is_data: bool | None = None
        """Of the line; None until it is known."""
        self._has_data = False
        self._after_return = False

    def feed(self, data: bytes) -> None:
        """Read on."""
        if self._after_return and data:
            data, self._after_return = data.removeprefix(b"\n"), False
        for match in _LINE.finditer(data):
            self._read(match[1])
            if match[2] is not None:
                self._end_line()
        self._after_return = data.endswith(b"\r")

    def _read(self, piece: bytes) -> None:
        if self._is_data is None and piece:
            missing = len(_DATA) - len(self._name)
            self._name, piece = self._name + piece[:missing], piece[missing:]
            if len(self._name) == len(_DATA) or not _DATA.startswith(self._name):
                self._is_data = self._name == _DATA
        if self._is_data and piece:
            self._on_data(piece)

    def _end_line(self) -> None:
        if self._is_data:
            self._has_data = True
            self._on_data(b"\n")
        elif not self._name and self._has_data:
            self._has_data = False
            self._on_end()
        self._name, self._is_data = b"", None
