"""The reference pages and the code say the same: everything that is there, and nothing else."""

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from pydantic import BaseModel

from cloister import errors
from cloister.cli.commands import LaterCommand
from cloister.cli.main import app
from cloister.environment_file import read_environment
from cloister.environment_schema import EnvironmentTable
from cloister.github_settings import GitHubTable
from cloister.model.event import Event
from cloister.model_settings import ModelTable, PriceTable
from cloister.settings import Settings

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs/reference"

_SECTION = re.compile(r"^## `(.+)`$")
_ROW = re.compile(r"^\| `([^`]+)` \|")
_ITEM = re.compile(r"^- `([^` ]+)(?: [^`]*)?`: \S")


def _sections(page: str, entry: re.Pattern[str]) -> dict[str, set[str]]:
    """What a page lists under each of its headings that name something of the code."""
    sections: dict[str, set[str]] = {}
    current: set[str] = set()
    for line in (REFERENCE / page).read_text().splitlines():
        if line.startswith("## "):
            current = set()
            if heading := _SECTION.match(line):
                sections[heading[1]] = current
        elif found := entry.match(line):
            current.add(found[1])
    return sections


def _rows(page: str) -> dict[str, list[str]]:
    """The cells of every table row whose first cell is a name of the code."""
    lines = (REFERENCE / page).read_text().splitlines()
    rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines if _ROW.match(line))
    return {cells[0].strip("`"): cells[1:] for cells in rows}


def test_every_event_and_field_is_on_its_page() -> None:
    in_code = {name: {field.name for field in dataclasses.fields(kind)} for name, kind in Event.by_name.items()}
    assert _sections("events.md", _ROW) == in_code


def test_every_error_is_on_its_page_with_its_codes() -> None:
    kinds = [
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.CloisterError)
    ]
    in_code = {kind.__name__: [str(kind.exit_code), str(kind.http_status)] for kind in kinds}
    assert {name: cells[:2] for name, cells in _rows("errors.md").items()} == in_code


def test_every_setting_is_on_its_page_with_its_variable() -> None:
    in_code = {name: f"`CLOISTER_{name.upper()}`" for name in Settings.model_fields}
    assert {name: cells[0] for name, cells in _rows("settings.md").items()} == in_code


def test_every_key_of_models_is_on_its_page() -> None:
    prices = {f"prices.MODEL.{name}" for name in PriceTable.model_fields}
    assert set(_rows("models.md")) == {*ModelTable.model_fields, *prices}


def test_every_key_of_github_is_on_its_page() -> None:
    assert set(_rows("github.md")) == set(GitHubTable.model_fields)


def test_every_key_of_the_environment_file_is_on_its_page() -> None:
    assert set(_rows("environment-file.md")) == set(_keys(EnvironmentTable))


def _keys(table: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in table.model_fields.items():
        inner = [kind for kind in _types_in(field.annotation) if issubclass(kind, BaseModel)]
        owner = f"{prefix}{name}.NAME" if _is_mapping(field.annotation) else f"{prefix}{name}"
        if inner:
            yield from _keys(inner[0], f"{owner}.")
        else:
            yield owner


def _is_mapping(annotation: Any) -> bool:
    return getattr(annotation, "__origin__", None) is dict


def _types_in(annotation: Any) -> Iterator[type]:
    if isinstance(annotation, type) and not hasattr(annotation, "__origin__"):
        yield annotation
    for argument in (*getattr(annotation, "__args__", ()), *([getattr(annotation, "__origin__", None)])):
        if argument is not None and argument is not annotation:
            yield from _types_in(argument)


def test_the_example_of_an_environment_file_can_be_read() -> None:
    example = re.search(r"```toml\n(.*?)```", (REFERENCE / "environment-file.md").read_text(), re.DOTALL)
    assert example
    environment = read_environment(example[1].encode(), source="the page", default_name="none")
    assert environment.name == "web"


def test_every_command_and_option_is_on_its_page() -> None:
    root = typer.main.get_command(app)
    in_code = {"cloister": _parameters(root)} | dict(_commands(root, "cloister"))
    assert _sections("commands.md", _ITEM) == in_code


def _commands(group: Any, path: str) -> Iterator[tuple[str, set[str]]]:
    for name, told in group.commands.items():
        command = told.load() if isinstance(told, LaterCommand) else told
        if hasattr(command, "commands"):
            yield from _commands(command, f"{path} {name}")
        elif not command.hidden:
            yield f"{path} {name}", _parameters(command)


def _parameters(command: Any) -> set[str]:
    shown = [parameter for parameter in command.params if not getattr(parameter, "hidden", False)]
    arguments = {(it.metavar or it.name).upper() for it in shown if it.param_type_name == "argument"}
    return arguments | {it.opts[0] for it in shown if it.param_type_name == "option" and it.name != "help"}


@pytest.mark.parametrize(
    "page", sorted(ROOT.glob("*.md")) + sorted(ROOT.glob("docs/**/*.md")), ids=lambda page: page.name
)
def test_every_link_within_the_project_leads_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text())
    local = [target for target in targets if "://" not in target]
    assert [target for target in local if not (page.parent / target).exists()] == []
