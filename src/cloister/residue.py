"""Searches bytes for secret values in all their forms: streaming, in bounded memory, also where lines are broken."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from ahocorasick_rs import BytesAhoCorasick, Implementation, MatchKind

from cloister.encodings import forms_of
from cloister.model.secret import SHORTEST_SECRET, SecretValue

CHUNK_BYTES = 1024 * 1024

_PIECE_BYTES = 8
_MOST_PIECES = 32
"""To one search: with more, the library's search with vector instructions gives way to one ten times slower."""
_BREAK = re.compile(rb"[ \t\"'\\+]*\r?\n[ \t\"'#*]*")
"""Where a value is broken: a line's end, with what scripts, strings and indented files put around it."""
_TOKEN = re.compile(r"[A-Za-z0-9+/=_-]{20,}")
_HEXADECIMAL = re.compile(r"[0-9a-fA-F]{32,}")


@dataclass(frozen=True, slots=True)
class _Piece:
    """A few bytes of a form, and where they lie in it."""

    form: int
    offset: int


class ResidueSearch:
    """Searches for the values of one attempt. What is found is a name, never a value."""

    def __init__(self, values: Mapping[str, SecretValue]) -> None:
        names = {_joined(form): name for name, value in sorted(values.items()) for form in _forms(value.reveal())}
        self._forms = sorted(form for form in names if len(form) >= SHORTEST_SECRET)
        self._names = [names[form] for form in self._forms]
        self._reach = 2 * max(map(len, self._forms), default=0) + 64
        """Bytes from a form's beginning to its end at most, broken or not."""
        pieces: dict[bytes, list[_Piece]] = {}
        for number, form in enumerate(self._forms):
            for offset in _offsets(form):
                pieces.setdefault(form[offset : offset + _PIECE_BYTES], []).append(_Piece(number, offset))
        self._searches = [
            _Search({text: pieces[text] for text in texts}) for texts in _groups(sorted(pieces), _MOST_PIECES)
        ]

    def names_in(self, chunks: Iterable[bytes]) -> set[str]:
        """Return the names of the values that the stream holds; its chunks may be of any size."""
        found: set[str] = set()
        before = b""
        for chunk in chunks:
            data = before + chunk
            found |= self._names_in(data)
            if len(found) == len(set(self._names)):
                break
            before = data[-self._reach :]
        return found

    def _names_in(self, data: bytes) -> set[str]:
        hits = (hit for search in self._searches for hit in search.hits_in(data))
        found: set[str] = set()
        for at, piece in hits:
            if self._names[piece.form] not in found and self._is_here(data, at, piece):
                found.add(self._names[piece.form])
        return found

    def _is_here(self, data: bytes, at: int, piece: _Piece) -> bool:
        form, begin = self._forms[piece.form], at - piece.offset
        if begin >= 0 and data.startswith(form, begin):
            return True
        around = data[max(0, at - 2 * piece.offset - 64) : at + 2 * (len(form) - piece.offset) + 64]
        return b"\n" in around and form in _joined(around)


class _Search:
    """One pass for a few pieces."""

    def __init__(self, pieces: Mapping[bytes, list[_Piece]]) -> None:
        self._pieces = list(pieces.values())
        texts = list(pieces)
        self._first = BytesAhoCorasick(texts, matchkind=MatchKind.LeftmostFirst)
        self._all = BytesAhoCorasick(texts, matchkind=MatchKind.Standard, implementation=Implementation.ContiguousNFA)

    def hits_in(self, data: bytes) -> Iterator[tuple[int, _Piece]]:
        """Yield where each piece is, also those that overlap."""
        for _, start, end in self._first.find_matches_as_indexes(data):
            # The quick search skips what overlaps a hit.
            nearby = data[start : end + _PIECE_BYTES]
            for number, at, _ in self._all.find_matches_as_indexes(nearby, overlapping=True):
                yield from ((start + at, piece) for piece in self._pieces[number])


def _forms(value: str) -> Iterator[bytes]:
    """Yield the forms of the whole, and of what in several lines is a secret for itself.

    Not of every line: a key's `-----BEGIN` and most lines of a JSON file are in other files too.
    """
    whole = value.strip()
    if "\n" not in whole:
        yield from forms_of(value)
        return
    yield from (form for form in forms_of(value) if len(form) >= len(whole.encode()))
    for token in filter(_is_random, _TOKEN.findall(value)):
        yield from forms_of(token)


def _is_random(token: str) -> bool:
    """Whether nobody would write it by hand."""
    kinds = (str.islower, str.isupper, str.isdigit)
    return _HEXADECIMAL.fullmatch(token) is not None or all(any(map(kind, token)) for kind in kinds)


def _offsets(form: bytes) -> tuple[int, ...]:
    """Where its pieces begin. One of two is whole wherever a line's end breaks the form."""
    if len(form) <= _PIECE_BYTES:
        return (0,)
    return (0, min(_PIECE_BYTES, len(form) - _PIECE_BYTES))


def _joined(data: bytes) -> bytes:
    return _BREAK.sub(b"", data)


def _groups(texts: list[bytes], size: int) -> Iterator[list[bytes]]:
    return (texts[at : at + size] for at in range(0, len(texts), size))
