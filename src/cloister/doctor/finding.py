"""What `cloister doctor` says about one thing."""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"
    """Sandboxes run, but something is weaker, slower or missing."""
    FAIL = "fail"
    """No sandbox can run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the answer."""

    name: str
    state: State
    what: str
    do: str = ""
    """What to do about it; empty when there is nothing to be done."""


def ok(name: str, what: str) -> Finding:
    """All is well."""
    return Finding(name=name, state=State.OK, what=what)


def warn(name: str, what: str, do: str) -> Finding:
    """Not as it should be."""
    return Finding(name=name, state=State.WARN, what=what, do=do)


def fail(name: str, what: str, do: str) -> Finding:
    """Nothing can run like this."""
    return Finding(name=name, state=State.FAIL, what=what, do=do)
