"""Masks secret values in a stream of bytes, wherever the stream is cut. Best effort: see `encodings`."""

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from copy import copy
from itertools import chain

from ahocorasick_rs import BytesAhoCorasick, Implementation, MatchKind

from cloister.encodings import forms_of
from cloister.model.secret import SHORTEST_SECRET, SecretValue

_MOST_COMPARED_BYTES = 1024 * 1024
"""Spent on one chunk to find out what to hold back. A value like `aaaa...` may take more; then too much is held."""


class MaskingRedactor:
    """`Redactor` for one stream: shows `[secret NAME]` for each form of each value, the longest form first."""

    def __init__(self, values: Mapping[str, SecretValue]) -> None:
        name_of = {form: name for name, value in sorted(values.items()) for form in forms_of(value.reveal())}
        self._forms = sorted(name_of)
        self._names = [name_of[form] for form in self._forms]
        self._masks = [f"[secret {name}]".encode() for name in self._names]
        self._longest = max(map(len, self._forms), default=0)
        self._search = _automaton(self._forms, MatchKind.LeftmostLongest)
        self._heads = _automaton(sorted({form[:SHORTEST_SECRET] for form in self._forms}), MatchKind.Standard)
        self._held = b""
        self.found: set[str] = set()
        """Names of the values that were masked so far."""

    def fresh(self) -> "MaskingRedactor":
        """Return one of the same values for another stream, in microseconds."""
        other = copy(self)
        other._held, other.found = b"", set()
        return other

    def feed(self, data: bytes) -> bytes:
        """Return what can be shown by now; only what may yet become a form is held back."""
        if not self._forms:
            return data
        data = self._held + data
        shown, kept_from = self._mask(data, self._first_beginning(data, 0))
        self._held = data[kept_from:]
        return shown

    def flush(self) -> bytes:
        """Return what was held back; the stream is over."""
        data, self._held = self._held, b""
        return self._mask(data, len(data))[0] if data else b""

    @property
    def held_bytes(self) -> int:
        """The length of the possible beginning of a form, with which the stream ends at present."""
        return len(self._held)

    def _mask(self, data: bytes, until: int) -> tuple[bytes, int]:
        """Mask the forms that begin before `until`; return what can be shown, and where that ends."""
        pieces: list[bytes] = []
        at = 0
        for form, start, end in self._search.find_matches_as_indexes(data):
            if start >= until:
                break
            pieces += data[at:start], self._masks[form]
            self.found.add(self._names[form])
            at = end
            if at > until:
                until = self._first_beginning(data, at)
        pieces.append(data[at:until])
        return b"".join(pieces), until

    def _first_beginning(self, data: bytes, start: int) -> int:
        """Where, at or after `start`, the rest of `data` may be the beginning of a form; its end when nowhere."""
        compared = 0
        for at in self._candidates(data, max(start, len(data) - self._longest + 1)):
            compared += len(data) - at
            if compared > _MOST_COMPARED_BYTES or self._begins_a_form(data[at:]):
                return at
        return len(data)

    def _candidates(self, data: bytes, start: int) -> Iterator[int]:
        # Every form is at least as long as a head, so an ordinary stream has no candidate but its last few bytes.
        heads = self._heads.find_matches_as_indexes(data[start:], overlapping=True)
        last = range(max(start, len(data) - SHORTEST_SECRET + 1), len(data))
        return chain((start + at for _, at, _ in heads), last)

    def _begins_a_form(self, text: bytes) -> bool:
        following = bisect_right(self._forms, text)
        return following < len(self._forms) and self._forms[following].startswith(text)


def _automaton(patterns: list[bytes], kind: MatchKind) -> BytesAhoCorasick:
    # The compact kind: a table of states by bytes would take gigabytes for a value of 64 KiB.
    return BytesAhoCorasick(patterns, matchkind=kind, implementation=Implementation.ContiguousNFA)
