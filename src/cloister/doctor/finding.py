"""What `cloister doctor` says about one thing."""

from collections.abc import Mapping
from dataclasses import dataclass, field
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
    packages: tuple[str, ...] = ()
    """What Debian and Ubuntu call the packages that mend it."""
    sysctls: Mapping[str, int] = field(default_factory=dict)
    """The least values of kernel settings that mend it."""


def ok(name: str, what: str) -> Finding:
    """All is well."""
    return Finding(name=name, state=State.OK, what=what)


def warn(name: str, what: str, do: str) -> Finding:
    """Not as it should be."""
    return Finding(name=name, state=State.WARN, what=what, do=do)


def fail(name: str, what: str, do: str) -> Finding:
    """Nothing can run like this."""
    return Finding(name=name, state=State.FAIL, what=what, do=do)
