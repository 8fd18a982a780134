"""Which versions of languages are asked for, and which of an image's a task gets. Nothing is written anywhere."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from semantic_version import NpmSpec, Version

from cloister.errors import UsageError
from cloister.model.image import Image, Toolchain
from cloister.model.project import ProjectFiles, path_in
from cloister.toml_text import load_toml

Fits = Callable[[str], bool]
"""Whether a version will do."""
_Asked = tuple[str, str, tuple[Fits, ...]]
"""A language, what is asked for as it is written, and what will do, the best first."""
_Reader = Callable[[str], Iterator[_Asked]]

_EXPLICIT = "[versions]"
_NUMBER = re.compile(r"\d+(?:\.\d+)*", re.ASCII)
_ALL_THREE = 3
_LONGEST_SHOWN = 80
"""Characters: a file may ask for anything."""
_SERIES = {"node": 1, "java": 1, "swift": 1}
"""How many numbers of a version say what programs rely on; two for all others."""
_CODENAMES = {"fermium": "14", "gallium": "16", "hydrogen": "18", "iron": "20", "jod": "22", "krypton": "24"}
"""Of Node's long-term releases, as nvm's `lts/jod` names them."""
_ANY = frozenset({"latest", "lts", "lts/*", "node", "stable", "system"})
_ASDF = {"nodejs": "node", "golang": "go"}
_LANGUAGES = frozenset({"python", "node", "rust", "go", "swift", "ruby", "php", "java"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wish:
    """What one file, or the environment, asks for."""

    language: str
    text: str
    """As it is written."""
    source: str
    best_first: tuple[Fits, ...]
    """The first is what is asked for; the others are what will do in its place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A version that was asked for, and what is taken."""

    toolchain: Toolchain
    source: str
    """Who asked: `[versions]`, or the path of a file."""

    def __str__(self) -> str:
        return f"{self.toolchain.language} {self.toolchain.version} ({self.source})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolchains:
    """What a task gets of its image's languages."""

    choices: tuple[Choice, ...] = ()
    notes: tuple[str, ...] = ()
    """Where what is taken is not quite what was asked for, one sentence each."""

    @property
    def versions(self) -> Mapping[str, str]:
        """Language to version: a part of the snapshot's key."""
        return {choice.toolchain.language: choice.toolchain.version for choice in self.choices}

    @property
    def path(self) -> tuple[str, ...]:
        """Folders before PATH, in setup and for the agent."""
        return tuple(dict.fromkeys(folder for choice in self.choices for folder in choice.toolchain.path))

    @property
    def variables(self) -> Mapping[str, str]:
        """Set in setup and for the agent, below the environment's own."""
        return {name: value for choice in self.choices for name, value in choice.toolchain.variables.items()}


NOTHING_CHOSEN = Toolchains()
"""The image's own versions, as they are found."""


def choose_toolchains(versions: Mapping[str, str], files: ProjectFiles, image: Image) -> Toolchains:
    """Choose by `[versions]`, and for other languages by the project's own files, the outermost first.

    UsageError when the image has nothing that will do: names what it has, and how to get more. A language that the
    image lacks altogether is an error only in `[versions]`: automatic setup may install it.
    """
    choices, notes, problems = [], [], []
    for wish in _first_of_each_language([*_explicit(versions), *_of_files(files)]):
        there = _of_language(image, wish.language)
        if not there and wish.source != _EXPLICIT:
            notes += [f"{wish.source} asks for {wish.language} {wish.text}, which the image {image.name} has none of"]
            continue
        found = _find(wish, there)
        if found is None:
            problems.append(_problem(wish, there, image))
            continue
        choices.append(Choice(toolchain=found, source=wish.source))
        if not wish.best_first[0](found.version):
            notes.append(f"{wish.source} asks for {wish.language} {wish.text}; the image has {found.version}")
    if problems:
        raise UsageError("; ".join(problems), hint=_hint(image))
    return Toolchains(choices=tuple(choices), notes=tuple(notes))


def _explicit(versions: Mapping[str, str]) -> Iterator[_Wish]:
    for language, text in versions.items():
        yield _Wish(language=language, text=text, source=_EXPLICIT, best_first=(_is_of(text),))


def _of_files(files: ProjectFiles) -> Iterator[_Wish]:
    for folder in files.folders_with([name for name, _ in _READERS]):
        for name, read in _READERS:
            file = files.find(folder, name)
            for language, text, best_first in read(file.text) if file else ():
                shown = text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."
                yield _Wish(language=language, text=shown, source=path_in(folder, name), best_first=best_first)


def _first_of_each_language(wishes: Sequence[_Wish]) -> Iterator[_Wish]:
    taken: set[str] = set()
    for wish in wishes:
        if wish.language not in taken:
            taken.add(wish.language)
            yield wish


def _of_language(image: Image, language: str) -> Sequence[Toolchain]:
    """Return the default first, and then the others, the newest first."""
    found = [it for it in image.toolchains if it.language == language]
    return [*found[:1], *sorted(found[1:], key=lambda it: _numbers(it.version), reverse=True)]


def _find(wish: _Wish, there: Sequence[Toolchain]) -> Toolchain | None:
    return next((it for fits in wish.best_first for it in there if fits(it.version)), None)


def _problem(wish: _Wish, there: Sequence[Toolchain], image: Image) -> str:
    has = ", ".join(it.version for it in there) or ("none" if image.toolchains else "not said which")
    asks = "asks for" if wish.source != _EXPLICIT else "ask for"
    return f"{wish.source} {asks} {wish.language} {wish.text}; what the image {image.name} has: {has}"


def _hint(image: Image) -> str:
    if not image.toolchains:
        return f"build it anew, so that it knows: cloister image build {image.name}"
    more = (
        "" if image.name == "universal" else 'take image = "universal" if it has that (cloister image show universal), '
    )
    return f"{more}build an image of your own, or name a version that is there in [versions]"


def _files_wish(language: str, text: str) -> _Asked | None:
    """Return what a file asks for: the very version, else one of its series; None for what is no version."""
    written = text.strip().removeprefix("v")
    if written in _ANY:
        return None
    number = _NUMBER.match(written)
    if number is None:
        return None
    series = ".".join(number[0].split(".")[: _SERIES.get(language, 2)])
    return language, text.strip(), (_is_of(number[0]), _is_of(series))


def _plain(language: str, prefix: str = "") -> _Reader:
    def read(text: str) -> Iterator[_Asked]:
        line = next((line for line in _lines(text)), "")
        if wish := _files_wish(language, line.removeprefix(prefix)):
            yield wish

    return read


def _nvm(text: str) -> Iterator[_Asked]:
    line = next(_lines(text), "")
    name = line.removeprefix("lts/")
    if wish := _files_wish("node", _CODENAMES.get(name, line)):
        yield wish


def _asdf(text: str) -> Iterator[_Asked]:
    for line in _lines(text):
        tool, *versions = line.split()
        language = _ASDF.get(tool, tool)
        # Java's are written with who made them: `temurin-21.0.4+7`.
        version = versions[0].rpartition("-")[2] if versions and language == "java" else "".join(versions[:1])
        if language in _LANGUAGES and (wish := _files_wish(language, version)):
            yield wish


def _go_module(text: str) -> Iterator[_Asked]:
    """The line `go 1.22` names the oldest that will do (Go Modules Reference, "go directive")."""
    for line in _lines(text):
        if found := re.fullmatch(r"go\s+(\d{1,9}(?:\.\d{1,9})*)(?:[^.\d]\S*)?", line, re.ASCII):
            yield "go", f">={found[1]}", (_at_least(found[1]),)


def _rust_toolchain(text: str) -> Iterator[_Asked]:
    """A channel's name, or the TOML that has it (The rustup book, "The toolchain file")."""
    channel: object = text.strip()
    try:
        toolchain = load_toml(text).get("toolchain")
        channel = toolchain.get("channel") if isinstance(toolchain, dict) else channel
    except ValueError:
        pass
    if not isinstance(channel, str) or not channel or channel == "stable":
        return
    if wish := _files_wish("rust", channel):
        yield wish
    else:  # nightly, or beta: no image can have it by a number
        yield "rust", channel, (_never,)


def _engines(text: str) -> Iterator[_Asked]:
    try:
        wanted = str(json.loads(text)["engines"]["node"])
        spec = NpmSpec(wanted)
    except (ValueError, KeyError, TypeError, RecursionError):
        return
    yield "node", wanted, (lambda version: _semantic(version) in spec,)


_READERS: tuple[tuple[str, _Reader], ...] = (
    (".python-version", _plain("python")),
    (".nvmrc", _nvm),
    (".node-version", _nvm),
    (".ruby-version", _plain("ruby", "ruby-")),
    ("rust-toolchain.toml", _rust_toolchain),
    ("rust-toolchain", _rust_toolchain),
    (".tool-versions", _asdf),
    ("go.mod", _go_module),
    ("package.json", _engines),
)
"""In one folder, the first that names a language decides."""


def _lines(text: str) -> Iterator[str]:
    """Yield lines that say something, without comments."""
    for line in text.splitlines():
        if said := line.partition("#")[0].partition("//")[0].strip():
            yield said


def _numbers(version: str) -> tuple[int, ...]:
    found = _NUMBER.match(version)
    return tuple(map(int, found[0].split("."))) if found else ()


def _is_of(wanted: str) -> Fits:
    """Whether a version is `wanted`, or one of its series: 3.11 is 3.11.2, and never 3.1."""
    return lambda version: version == wanted or version.startswith((f"{wanted}.", f"{wanted}-", f"{wanted}+"))


def _at_least(wanted: str) -> Fits:
    return lambda version: _numbers(version) >= _numbers(wanted)


def _never(_: str) -> bool:
    return False


def _semantic(version: str) -> Version:
    numbers = [*_numbers(version), 0, 0][:_ALL_THREE]
    return Version(".".join(map(str, numbers)))
