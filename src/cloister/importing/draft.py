"""An environment file in the making: what was taken over, from where, and what was not, and why."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from cloister.environment_schema import check_secret_name, check_variable_name

MOST_NOTES = 200
MOST_SERVICES = 100
"""More than any environment needs."""
_LONGEST_NOTE = 300
_NOT_IN_LABEL = re.compile(r"[^A-Za-z0-9_-]+")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_LINE = re.compile(r"line (\d{1,9})\b", re.ASCII)
_OF_VERSION = re.compile(r"CODEX_ENV_([A-Z]+)_VERSION")


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What was made of one line of the source."""

    where: str
    """Such as `line 12, runs-on`."""
    text: str


@dataclass(slots=True)
class Value:
    """One key's value, with where it came from."""

    text: str
    where: str


@dataclass(slots=True)
class Draft:
    """Collects, with a note for each decision. Names and values are checked here; text may be anybody's."""

    versions: dict[str, Value] = field(default_factory=dict)
    variables: dict[str, Value] = field(default_factory=dict)
    secrets: dict[str, Value] = field(default_factory=dict)
    services: dict[str, Value] = field(default_factory=dict)
    script: str | None = None
    maintenance: str | None = None
    timeout: Value | None = None
    taken: list[Note] = field(default_factory=list)
    left: list[Note] = field(default_factory=list)

    def take(self, where: str, text: str) -> None:
        """Note what was taken over."""
        self.taken.append(_note(where, text))

    def leave(self, where: str, text: str) -> None:
        """Note what was not, and why."""
        self.left.append(_note(where, text))

    def set_version(self, language: str, version: str, where: str) -> None:
        """Take a language's version; of several the first counts."""
        known = self.versions.get(language)
        if known is not None and known.text != version:
            self.leave(where, f"{language} {version}: {known.text} was asked for before it ({known.where})")
        elif known is None:
            self.versions[language] = Value(version, where)
            self.take(where, f"{language} {version}")

    def set_variable(self, name: str, value: str, where: str) -> None:
        """Take a variable, unless it cannot be one."""
        try:
            check_variable_name(name)
        except ValueError as error:
            self.leave(where, str(error))
            return
        if "\x00" in value:
            self.leave(where, f"{name} holds a NUL, which no variable can")
            return
        self.variables[name] = Value(clean(value), where)

    def set_secrets(self, names: Sequence[str], where: str) -> bool:
        """Take secrets' names; return whether every one of them can be one."""
        for name in names:
            try:
                check_secret_name(name)
            except ValueError as error:
                self.leave(where, str(error))
                return False
        for name in names:
            if name not in self.secrets:
                self.secrets[name] = Value(name, where)
                self.take(where, f"secret {name}, for setup alone; its value is given by `cloister secret set`")
        return True

    def set_service(self, name: str, command: str, where: str) -> None:
        """Take a program that runs beside the agent; its name is made to fit, and to be its only one."""
        if len(self.services) >= MOST_SERVICES:
            self.leave(where, f"there are {MOST_SERVICES} services already")
            return
        label = _NOT_IN_LABEL.sub("-", name).strip("-_")[:50].strip("-_") or "service"
        number = next(count for count in range(1, MOST_SERVICES + 1) if _numbered(label, count) not in self.services)
        self.services[_numbered(label, number)] = Value(command, where)
        self.take(where, f"service {_numbered(label, number)}")

    def set_timeout(self, duration: str, where: str) -> None:
        """Take setup's longest time."""
        self.timeout = Value(duration, where)
        self.take(where, f"setup.timeout {duration}")

    def settle(self) -> None:
        """Drop what contradicts: a name is a secret or a variable, and a version is said once. Notes get in order."""
        for name in [*self.variables]:
            asked = _OF_VERSION.fullmatch(name)
            if name in self.secrets:
                self.leave(self.variables.pop(name).where, f"variable {name}: a secret has this name")
            elif asked and asked[1].lower() in self.versions:
                self.leave(self.variables.pop(name).where, f"{name}: [versions] says {asked[1].lower()} already")
            else:
                self.take(self.variables[name].where, f"variable {name}")
        self.taken.sort(key=_line)
        self.left.sort(key=_line)


def clean(text: str) -> str:
    """Return text that can be encoded, with line ends as in Unix."""
    return _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text).replace("\r\n", "\n")


def on_one_line(text: str) -> str:
    """Return a stranger's text so that it ends no comment, and reads as what it is."""
    shown = "".join(character if character.isprintable() else " " for character in clean(text))
    return " ".join(shown.split())


def _line(note: Note) -> int:
    found = _LINE.match(note.where)
    return int(found[1]) if found else 0


def _note(where: str, text: str) -> Note:
    shown = on_one_line(text)
    if len(shown) > _LONGEST_NOTE:
        shown = f"{shown[:_LONGEST_NOTE]}..."
    return Note(where=on_one_line(where)[:_LONGEST_NOTE], text=shown)


def _numbered(label: str, number: int) -> str:
    return label if number == 1 else f"{label}-{number}"
