"""Checks: what became of the commands that must pass, run on the change alone."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath

LONGEST_REPORT = 4000
"""Characters of a check's last words."""


class ChecksState(StrEnum):
    """What the checks of an attempt say together."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_RUN = "not run"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """How one check ended in the clean room."""

    name: str
    ok: bool
    status: int
    """Its exit status; 128 + N when a signal N ended it."""
    seconds: float
    reason: str = ""
    """Why it did not pass, in a few words; empty when it did."""
    flaky: bool = False
    """Whether it failed at first, and passed when it was run once more."""
    last_words: str = ""
    """The end of what it printed, masked; empty when it passed."""
    notes: tuple[str, ...] = ()
    """What a reader should know of it, one sentence each."""


def state_of(results: Sequence[CheckResult]) -> ChecksState:
    """Return what they say together."""
    if not results:
        return ChecksState.NOT_RUN
    return ChecksState.PASSED if all(result.ok for result in results) else ChecksState.FAILED


def report_of(results: Iterable[CheckResult]) -> str:
    """Return what an agent is told of the checks that failed, to go on with."""
    parts = [
        f"The check `{result.name}` failed ({result.reason}). It last said:\n\n{result.last_words or '(nothing)'}"
        for result in results
        if not result.ok
    ]
    return (
        "Your change was applied to a clean copy of the project, without anything else that you did in this sandbox, "
        "and without a network. There, not all of its checks pass. Please go on until they do.\n\n" + "\n\n".join(parts)
    )


_RELY_ON = (
    (r"make|gmake", r"(GNUm|m|M)akefile|.*\.mk"),
    (r"npm|npx|yarn|pnpm|bun|bunx", r"(.*/)?package\.json"),
    (
        r"pytest|tox|nox|python3?",
        r"(.*/)?(conftest\.py|\.?pytest\.(ini|toml)|tox\.ini|setup\.cfg|pyproject\.toml|noxfile\.py|test_[^/]*\.py"
        r"|[^/]*_test\.py|(sitecustomize|usercustomize)\.py|[^/]*\.pth|tests?/.*)",
    ),
    (
        r"jest|vitest|mocha|ava|node|npm|npx|yarn|pnpm|bun|bunx",
        r".*\.(test|spec)\.[cm]?[jt]sx?|(.*/)?(package\.json|(jest|vitest|vite|ava|babel)\.config\.[cm]?[jt]s(on)?"
        r"|\.mocharc(\..*)?|\.babelrc|(__tests__|__mocks__|tests?|spec)/.*)",
    ),
    (r"go", r".*_test\.go"),
    (r"cargo", r"(.*/)?(tests/.*|Cargo\.toml|build\.rs|\.cargo/config(\.toml)?|rust-toolchain(\.toml)?)"),
    (
        r"ruff|flake8|mypy|pylint|black",
        r"(.*/)?(pyproject\.toml|setup\.cfg|\.?ruff\.toml|mypy\.ini|\.flake8|\.pylintrc)",
    ),
    (r"eslint|npm|npx", r"(.*/)?(\.eslintrc.*|eslint\.config\.[cm]?[jt]s)"),
    (r"bundle|rake|rspec", r"Rakefile|spec/.*|\.rspec"),
    (r"mvn|gradle|gradlew", r"(.*/)?src/test/.*|pom\.xml|(.*/)?build\.gradle(\.kts)?"),
    (r"pre-commit", r"\.pre-commit-config\.yaml"),
)
_WORD = re.compile(r"[\w./@+-]+")


def relied_on(command: str, changed: Iterable[str]) -> Iterator[str]:
    """Yield the changed paths that decide what a check does: those that it names, and those that its tool reads."""
    words = _WORD.findall(command)
    named = {str(PurePosixPath(word)) for word in words}
    programs = {PurePosixPath(word).name for word in words}
    patterns = [
        re.compile(paths) for tools, paths in _RELY_ON if any(re.fullmatch(tools, program) for program in programs)
    ]
    for path in changed:
        if path in named or any(pattern.fullmatch(path) for pattern in patterns):
            yield path
