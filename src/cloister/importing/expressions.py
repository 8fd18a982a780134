"""GitHub's `${{ expressions }}`: the few that have a meaning here."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cloister.importing.script import in_double_quotes

_EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
_SECRET = re.compile(r"secrets\.([A-Za-z_][A-Za-z0-9_]*)")
_VARIABLE = re.compile(r"env\.([A-Za-z_][A-Za-z0-9_]*)")
_GITHUBS_OWN = ("secrets.GITHUB_TOKEN", "github.token")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """A text whose expressions were looked up."""

    plain: str | None
    """The text itself; None when it holds what only a shell can know."""
    quoted: str
    """The text as a word of bash in double quotes."""
    script: str
    """The text as a part of a script."""
    secrets: tuple[str, ...]
    unknown: tuple[str, ...]
    """Expressions that mean nothing here. None of the texts is of use then."""


@dataclass(frozen=True, slots=True)
class Context:
    """What expressions may be about."""

    workspace: str
    """The work tree's path in a sandbox."""
    matrix: Mapping[str, str] = field(default_factory=dict)
    """Of a job's matrix, what has one value."""

    def resolve(self, text: str) -> Resolved:
        """Look up every expression of a text."""
        plain: list[str] = []
        quoted: list[str] = []
        script: list[str] = []
        secrets: list[str] = []
        unknown: list[str] = []
        is_plain = True
        place = 0
        for found in _EXPRESSION.finditer(text):
            before, place = text[place : found.start()], found.end()
            value, shell = self._look_up(found[1].strip(), secrets, unknown)
            is_plain = is_plain and value is not None
            plain += [before, value or ""]
            quoted += [in_double_quotes(before), shell if value is None else in_double_quotes(value)]
            script += [before, shell]
        rest = text[place:]
        return Resolved(
            plain="".join([*plain, rest]) if is_plain else None,
            quoted=f'"{"".join([*quoted, in_double_quotes(rest)])}"',
            script="".join([*script, rest]),
            secrets=tuple(dict.fromkeys(secrets)),
            unknown=tuple(dict.fromkeys(unknown)),
        )

    def _look_up(self, expression: str, secrets: list[str], unknown: list[str]) -> tuple[str | None, str]:
        """Return the value, None when only a shell knows it, and what stands for it in a shell."""
        known = {
            "github.workspace": self.workspace,
            "runner.os": "Linux",
            "runner.temp": "/tmp",
            **{f"matrix.{name}": value for name, value in self.matrix.items()},
        }
        if expression in known:
            return known[expression], known[expression]
        if expression not in _GITHUBS_OWN and (found := _SECRET.fullmatch(expression)):
            secrets.append(found[1])
            return None, f"${{{found[1]}}}"
        if found := _VARIABLE.fullmatch(expression):
            return None, f"${{{found[1]}}}"
        unknown.append(expression)
        return None, ""


def reason_to_leave(expressions: Sequence[str]) -> str:
    """Say why what holds these unknown expressions is not taken over."""
    if any(name in _GITHUBS_OWN for name in expressions):
        return "GitHub's own token is not there; a secret of another name may hold one: cloister secret set"
    shown = ", ".join(f"${{{{ {name} }}}}" for name in expressions)
    return f"{shown} means nothing here; write what it stands for yourself"
