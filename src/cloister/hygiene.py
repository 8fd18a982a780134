"""Which files of a change deserve a second look. Pure: what they hold is given."""

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from cloister.model.flag import MOST_OF_A_KIND, Flag, FlagKind
from cloister.model.instructions import is_instruction

LARGEST_READ_BYTES = 1024 * 1024
"""What is larger is flagged for that, and not read."""

_EXECUTABLE, _LINK, _SUBMODULE = 0o100755, 0o120000, 0o160000
_BINARY_WITHIN_BYTES = 8000
"""Git's own rule: a NUL that early (buffer_is_binary in xdiff-interface.c)."""
_MOST_PLACES = 3
_WINDOW, _OVERLAP = 1000, 200
"""Characters of a line that are searched for a secret at once: some patterns take the square of that."""
_MOST_SEARCHED = 2 * 1024**2
"""Characters of a change that get the closer look for secrets; more could keep the worker busy for minutes."""
_KINDS = (
    (
        FlagKind.AUTOMATION,
        r"(.*/)?\.(github|gitea|forgejo)/(workflows|actions)/.*|\.gitlab-ci\.yml|\.circleci/.*|\.woodpecker(/.*|\.ya?ml)|"
        r"Jenkinsfile|azure-pipelines\.ya?ml|\.travis\.yml|\.drone\.yml|bitbucket-pipelines\.yml|\.buildkite/.*",
    ),
    (
        FlagKind.HOOK,
        r"(.*/)?(\.husky|\.?git-?hooks|\.lefthook)/.*|\.pre-commit-config\.yaml|lefthook\.ya?ml|(.*/)?\.vscode/tasks\.json"
        r"|(.*/)?\.devcontainer(/.*|\.json)|(.*/)?\.envrc|(.*/)?\.npmrc|(.*/)?\.yarnrc(\.yml)?|(.*/)?\.mvn/extensions\.xml",
    ),
    (FlagKind.CLOISTER, r"\.cloister/.*"),
    (FlagKind.GIT, r"(.*/)?\.(git(modules|attributes|ignore|config)|lfsconfig)"),
)
_PATTERNS = tuple((kind, re.compile(pattern, re.DOTALL)) for kind, pattern in _KINDS)
_MANIFEST_OF = {
    "Cargo.lock": ("Cargo.toml",),
    "Gemfile.lock": ("Gemfile",),
    "Pipfile.lock": ("Pipfile",),
    "bun.lock": ("package.json",),
    "bun.lockb": ("package.json",),
    "composer.lock": ("composer.json",),
    "go.sum": ("go.mod",),
    "npm-shrinkwrap.json": ("package.json",),
    "package-lock.json": ("package.json",),
    "pnpm-lock.yaml": ("package.json", "pnpm-workspace.yaml"),
    "poetry.lock": ("pyproject.toml",),
    "uv.lock": ("pyproject.toml",),
    "yarn.lock": ("package.json",),
}
_UNSEEN = re.compile(
    "[\ufe00-\ufe0f]{2}|[\x00-\x08\x0d-\x1f\x7f]|"
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0"
    "\ufff9-\ufffb\U000e0000-\U000e0fff]"
)
"""Without a width, or turning the direction of what follows: CVE-2021-42574 ("Trojan Source"); tags and variation
selectors in a row, in which whole sentences hide from everybody but a model; what lets a terminal hide a line."""
_JOINED = re.compile("(?<=[\u00a9-\U0001faff])\u200d(?=[\u2600-\U0001faff])")
"""The joiner inside of an emoji."""
_TOKEN = re.compile(r"[\w+/=.:-]{16,}", re.ASCII)
_DIGIT = re.compile(r"\d", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedFile:
    """One path of a change, without renames."""

    path: str
    old_mode: int
    """As git has it; 0 for what was not there."""
    new_mode: int
    old_blob: str
    new_blob: str
    size: int
    """Bytes of the new content; 0 when there is none."""


FindSecrets = Callable[[str], Sequence[str]]
"""Returns what kinds of secret a line seems to hold."""


def flags_of(
    files: Sequence[ChangedFile], contents: Mapping[str, bytes], find_secrets: FindSecrets | None = None
) -> tuple[Flag, ...]:
    """Return the flags, the weightiest first. `contents` by blob; what is not in there is not looked into."""
    changed = {file.path for file in files}
    secrets = _SecretSearch(find_secrets or find_known_secrets)
    flags = [
        flag
        for file in files
        for flag in (
            *_by_path(file, changed),
            *_by_mode(file, contents),
            *_by_content(file, contents, secrets),
        )
    ]
    return tuple(flag for kind in FlagKind for flag in _few_flags([flag for flag in flags if flag.kind is kind]))


def _few_flags(flags: Sequence[Flag]) -> Sequence[Flag]:
    """Return those of one kind by path, and no more than anybody reads: a change may have a million files."""
    first = sorted(flags, key=lambda flag: flag.path)[:MOST_OF_A_KIND]
    more = len(flags) - len(first)
    return [*first[:-1], replace(first[-1], more=more)] if more else first


def find_known_secrets(line: str) -> Sequence[str]:
    """Return the kinds of credentials that a line seems to hold, by the patterns of those who hand them out."""
    from cloister.credentials import kinds_in  # its library takes long to load

    return kinds_in(line)


def _by_path(file: ChangedFile, changed: set[str]) -> Iterator[Flag]:
    for kind, pattern in _PATTERNS:
        if pattern.fullmatch(file.path):
            yield Flag(kind=kind, path=file.path)
    if is_instruction(file.path):
        yield Flag(kind=FlagKind.INSTRUCTIONS, path=file.path)
    folder, name = str(PurePosixPath(file.path).parent), PurePosixPath(file.path).name
    manifests = [name if folder == "." else f"{folder}/{name}" for name in _MANIFEST_OF.get(name, ())]
    if manifests and file.old_mode and file.new_mode and not changed.intersection(manifests):
        yield Flag(kind=FlagKind.LOCK, path=file.path)


def _by_mode(file: ChangedFile, contents: Mapping[str, bytes]) -> Iterator[Flag]:
    match file.new_mode:
        case 0o100755 if file.old_mode != _EXECUTABLE:
            yield Flag(kind=FlagKind.EXECUTABLE, path=file.path)
        case 0o160000:
            yield Flag(kind=FlagKind.SUBMODULE, path=file.path, detail=file.new_blob[:12])
        case 0o120000:
            target = contents.get(file.new_blob, b"/").decode(errors="replace")
            if _leaves(file.path, target):
                yield Flag(kind=FlagKind.LINK, path=file.path, detail=target[:100])


def _by_content(file: ChangedFile, contents: Mapping[str, bytes], secrets: "_SecretSearch") -> Iterator[Flag]:
    if file.new_mode in (0, _LINK, _SUBMODULE):
        return
    content = contents.get(file.new_blob)
    if file.size > LARGEST_READ_BYTES:
        yield Flag(kind=FlagKind.LARGE, path=file.path, detail=f"{file.size / 1024**2:.1f} MiB")
    elif content is None:
        yield Flag(kind=FlagKind.LARGE, path=file.path, detail="the change is: this was not looked into")
    if content is None:
        return
    if b"\0" in content[:_BINARY_WITHIN_BYTES]:
        yield Flag(kind=FlagKind.BINARY, path=file.path)
        return
    former = set(_lines(contents.get(file.old_blob, b"")))
    lines = [(number, line) for number, line in enumerate(_lines(content), 1) if line not in former]
    if places := [f"line {number}: {name}" for number, line in lines if (name := _unseen_in(line, number))]:
        yield Flag(kind=FlagKind.UNICODE, path=file.path, detail=_few(places))
    if places := [f"line {number}: {kind}" for number, line in lines for kind in secrets.kinds_in(line)]:
        yield Flag(kind=FlagKind.SECRET, path=file.path, detail=_few(places))
    if secrets.left < 0:
        yield Flag(kind=FlagKind.LARGE, path=file.path, detail="the change is: this was not all searched for secrets")


def _lines(content: bytes) -> list[str]:
    """Cut where editors do, and not at every character that Python takes for an end."""
    return [line.removesuffix("\r") for line in content.decode(errors="replace").split("\n")]


@dataclass(slots=True)
class _SecretSearch:
    """Takes the closer look at what deserves it, and at no more of a change than there is time for."""

    find: FindSecrets
    left: int = _MOST_SEARCHED
    """Characters; negative when some were not looked at."""

    def kinds_in(self, line: str) -> Sequence[str]:
        """Return what kinds of secrets a line of any length seems to hold."""
        kinds: dict[str, None] = {}
        for at in range(0, max(len(line) - _OVERLAP, 1), _WINDOW - _OVERLAP):
            part = line[at : at + _WINDOW]
            if self.left >= 0 and _may_hold_a_secret(part):
                self.left -= len(part)
                kinds |= dict.fromkeys(self.find(part) if self.left >= 0 else ())
        return list(kinds)


def _may_hold_a_secret(text: str) -> bool:
    """Few lines do, and the closer look is slow."""
    return (
        "PRIVATE KEY" in text
        or ("://" in text and "@" in text)
        or any(_DIGIT.search(token[0]) for token in _TOKEN.finditer(text))
    )


def _unseen_in(line: str, number: int) -> str:
    if line.isascii() and line.isprintable():
        return ""
    text = _JOINED.sub("", line.removeprefix("\ufeff") if number == 1 else line)
    found = _UNSEEN.search(text)
    return unicodedata.name(found[0][0], f"U+{ord(found[0][0]):04X}").lower() if found else ""


def _few(places: Sequence[str]) -> str:
    more = len(places) - _MOST_PLACES
    return "; ".join([*places[:_MOST_PLACES], *([f"{more} more"] if more > 0 else [])])


def _leaves(path: str, target: str) -> bool:
    """Whether a symbolic link at `path` points out of the work tree, or into git's own folder."""
    if target.startswith("/"):
        return True
    place = list(PurePosixPath(path).parent.parts)
    for part in target.split("/"):
        if part == "..":
            if not place:
                return True
            place.pop()
        elif part not in ("", "."):
            place.append(part)
    return place[:1] == [".git"]
