"""Rules of the house that no linter knows."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"
MODULES = sorted(SOURCE.rglob("*.py"))

LONGEST_MODULE = 400
LONGEST_FUNCTION = 40


def _imported(module: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


@pytest.mark.parametrize(
    "module", [SOURCE / "cloister/errors.py", *sorted(SOURCE.glob("cloister/model/*.py"))], ids=str
)
def test_what_things_are_is_said_with_the_standard_library_alone(module: Path) -> None:
    own = ("cloister.model", "cloister.errors")
    foreign = [name for name in _imported(module) if name.split(".")[0] not in sys.stdlib_module_names]
    assert [name for name in foreign if not name.startswith(own)] == []


def test_every_dependency_is_locked_and_explained() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = project["project"]["dependencies"] + project["dependency-groups"]["dev"]
    names = {match[0].lower() for requirement in wanted if (match := re.match(r"[\w.-]+", requirement))}
    locked = set(re.findall(r"^([\w.-]+)==", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    explained = set(
        re.findall(r"^\| ([\w.-]+) \|", (ROOT / "docs/decisions/dependencies.md").read_text(), re.MULTILINE)
    )
    assert sorted(names - locked) == [], "run ./dev lock"
    assert sorted(names - explained) == [], "say in docs/decisions/dependencies.md what it is for"


def test_what_has_grown_long_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """Sizes are habits, not limits: whoever reads this may want to cut something in two."""
    long = [f"{path.relative_to(ROOT)}: {lines} lines" for path in MODULES if (lines := _lines(path)) > LONGEST_MODULE]
    long += [text for path in MODULES for text in _long_functions(path)]
    with capsys.disabled():
        print("", *long, sep="\n  ")


def _lines(path: Path) -> int:
    return len(path.read_text().splitlines())


def _long_functions(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
            lines = node.end_lineno - node.lineno + 1
            if lines > LONGEST_FUNCTION:
                yield f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {lines} lines"
