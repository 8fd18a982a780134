"""Names of traces and spans (W3C Trace Context): what is asked from outside goes on here, under the same name."""

import hashlib
import re
from dataclasses import dataclass

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SAMPLED = 0x01


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceParent:
    """The span of somebody else's that asked for a task."""

    trace_id: str
    """32 hexadecimal digits."""
    span_id: str
    """16 hexadecimal digits."""
    sampled: bool = True
    """Whether who asked keeps the trace."""

    def __str__(self) -> str:
        """Return the header `traceparent`."""
        return f"00-{self.trace_id}-{self.span_id}-{int(self.sampled):02x}"


def parse_traceparent(header: str | None) -> TraceParent | None:
    """Return what the header says; None when it is none: who cannot read it begins a trace of their own (3.2.2)."""
    found = _TRACEPARENT.fullmatch(header.strip()) if header else None
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == "ff" or (version == "00" and more) or not (int(trace_id, 16) and int(span_id, 16)):
        return None
    return TraceParent(trace_id=trace_id, span_id=span_id, sampled=bool(int(flags, 16) & _SAMPLED))


def trace_id_of(name: str) -> str:
    """Return the trace id of something that has a name of its own; every process finds the same."""
    return _digest("trace", name)[:32]


def span_id_of(kind: str, name: str) -> str:
    """Return the span id of something that has a name of its own; every process finds the same."""
    return _digest(kind, name)[:16]


def _digest(kind: str, name: str) -> str:
    return hashlib.sha256(f"{kind}\0{name}".encode()).hexdigest()
