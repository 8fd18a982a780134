"""The JSON Schema of the environment file says what the parser does."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft7Validator
from pydantic import BaseModel

from cloister.environment_file import read_environment
from cloister.environment_json_schema import environment_json_schema
from cloister.environment_schema import EnvironmentTable, check_secret_name, check_variable_name
from cloister.errors import EnvironmentFileError
from cloister.model.quantity import parse_duration, parse_size
from cloister.settings import Settings

ROOT = Path(__file__).parents[2]
COPY = ROOT / "docs/reference/environment.schema.json"
SCHEMA: dict[str, Any] = json.loads(environment_json_schema())
VALIDATOR = Draft7Validator(SCHEMA)

BLOCKS = [
    pytest.param(block, id=f"{page.name}-{number}")
    for page in sorted(ROOT.glob("docs/**/*.md"))
    for number, block in enumerate(re.findall(r"```toml\n(.*?)```", page.read_text(), re.DOTALL))
    if not tomllib.loads(block).keys()
    <= Settings.model_fields.keys() | {"conversations", "turns"}  # settings, or scripts
]
FILES = [
    pytest.param(path.read_text(), id=str(path.relative_to(ROOT)))
    for path in sorted(
        [ROOT / "src/cloister/demo/environment.toml", *ROOT.glob("tests/unit/importing/samples/*/expected.toml")]
    )
]
WRONG = [
    "colour = 'blue'",
    "[setup]\nscripts = 'make'",
    "[versions]\ncobol = '85'",
    "[versions]\npython = 3.12",
    "[versions]\npython = ' '",
    "name = ''",
    "name = 'a\\u0000'".replace("'", '"'),
    "image = 'Not An Image'",
    "agent = 'two words'",
    "agent = 1",
    "[variables]\n1A = 'x'",
    "[variables]\nhttp_proxy = 'x'",
    "[variables]\nCLOISTER_TASK = 'x'",
    "[variables]\nA = 1",
    "[secrets]\nTOKEN = 'the value'",
    "[secrets]\nPATH = {}",
    "[secrets]\nTOKEN = { mode = 'agent' }",
    "[secrets]\nTOKEN = { host = 'example.com' }",
    "[secrets]\nTOKEN = { methods = [] }",
    "[setup]\nscript = ''",
    "[setup]\nautomatic = 'yes'",
    "[setup]\nautomatic = 1",
    "[setup]\ntimeout = 20",
    "[setup]\ntimeout = '20'",
    "[setup]\ntimeout = '0m'",
    "[setup]\ntimeout = '20 m'",
    "[setup]\nresidue = 'keep'",
    "[services]\ndb = 1",
    "[services]\ndb = ''",
    "[services]\n'd b' = 'x'",
    "[services]\ndb = { ready = 'tcp:1' }",
    "[services]\ndb = { command = 'x', port = 1 }",
    "[network]\nagent = 'on'",
    "[network]\nallow = 'example.com'",
    "[network]\nmethods = ['get']",
    "[network]\nmethods = []",
    "[network]\nports = [0]",
    "[network]\nports = ['80']",
    "[network]\nports = [65536]",
    "[limits]\ncpu = '2'",
    "[limits]\ncpu = 0",
    "[limits]\ncpu = inf",
    "[limits]\nmemory = 4096",
    "[limits]\nmemory = '4G'",
    "[limits]\nmemory = '4gib'",
    "[limits]\nmemory = '4iB'",
    "[limits]\npids = 1",
    "[limits]\npids = 2.5",
    "[limits]\nrounds = 21",
    "[limits]\ntime = 12:00:00",
    "[checks]\ntest = ['pytest']",
    "[checks.test]\ntimeout = '1m'",
    "[cache]\nttl = 'forever'",
    "[review]\nautomatic = 'always'",
    "setup = 'make'",
    "setup = []",
]
"""Each is refused for one reason; without it, the parser reads it."""


def errors_of(text: str) -> list[str]:
    return [error.message for error in VALIDATOR.iter_errors(tomllib.loads(text))]


def is_read(text: str) -> bool:
    try:
        read_environment(text.encode(), source="x", default_name="x")
    except EnvironmentFileError:
        return False
    return True


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_is_refused_by_both(text: str) -> None:
    assert not is_read(text)
    assert errors_of(text)


@pytest.mark.parametrize("text", [*BLOCKS, *FILES])
def test_every_environment_file_of_the_project_fits(text: str) -> None:
    assert is_read(text), text
    assert errors_of(text) == []


def test_there_are_files_to_try() -> None:
    assert len(BLOCKS) >= 5 and len(FILES) >= 5
    Draft7Validator.check_schema(SCHEMA)


def test_the_published_copy_is_the_schema() -> None:
    assert COPY.read_text() == environment_json_schema(), f"cloister env schema >{COPY.relative_to(ROOT)}"


@given(
    st.text("0123456789.smhd \n", max_size=12)
    | st.from_regex(r"([0-9]{1,3}(\.[0-9]{1,2})?[smhd]){1,3}", fullmatch=True)
)
@example("0s")
@example("0.0m0h")
@example("1h30m")
@example("٣m")
def test_the_pattern_of_a_duration_is_the_parsers(text: str) -> None:
    pattern = SCHEMA["properties"]["setup"]["properties"]["timeout"]["pattern"]
    try:
        fits = parse_duration(text) > 0
    except ValueError as error:
        fits = "at most a year" in str(error) and re.search("[1-9]", text) is not None
    assert (re.search(pattern, text.removesuffix("\n")) is not None) == fits or text.endswith("\n")


@given(st.text("0123456789.kKMGTiB ", max_size=10) | st.from_regex(r"[0-9]{1,3} ?[kKMGT]?i?B", fullmatch=True))
@example("4 GiB")
@example("٣GiB")
@example("1.5TB")
def test_the_pattern_of_a_size_is_the_parsers(text: str) -> None:
    pattern = SCHEMA["properties"]["limits"]["properties"]["memory"]["pattern"]
    try:
        parse_size(text)
    except ValueError:
        fits = False
    else:
        fits = True
    assert (re.search(pattern, text) is not None) == fits


@given(st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,12}", fullmatch=True) | st.text(max_size=4))
@example("PATH")
@example("path")
@example("LD_PRELOAD")
@example("ld_preload")
@example("Cloister_X")
@example("https_proxy")
@example("HOME")
def test_names_are_reserved_for_both(name: str) -> None:
    name = name.rstrip("\n")
    for table, check in (("variables", check_variable_name), ("secrets", check_secret_name)):
        try:
            check(name)
        except ValueError:
            allowed = False
        else:
            allowed = True
        value = "x" if table == "variables" else {}
        assert VALIDATOR.is_valid({table: {name: value}}) == allowed, (table, name)


def test_every_key_is_described_in_the_words_of_its_page() -> None:
    page = (ROOT / "docs/reference/environment-file.md").read_text()
    rows = re.findall(r"^\| `([^`]+)` \|[^|]*\|(.*)\|$", page, re.MULTILINE)
    told = {key: re.sub(r" See \[[^]]*\]\([^)]*\)\.", "", meaning).strip() for key, meaning in rows}
    described = dict(_descriptions(SCHEMA, EnvironmentTable))
    assert described == told


def _descriptions(schema: dict[str, Any], table: type[BaseModel], prefix: str = "") -> Any:
    for name, inner in schema["properties"].items():
        named = inner.get("patternProperties")
        if named is None and "properties" in inner:
            yield from _descriptions(inner, table, f"{prefix}{name}.")
        elif named is None:
            yield f"{prefix}{name}", inner["description"]
        else:
            (of_name,) = named.values()
            of_name = of_name["anyOf"][-1] if "anyOf" in of_name else of_name
            if "properties" in of_name:
                yield from _descriptions(of_name, table, f"{prefix}{name}.NAME.")
            else:
                yield f"{prefix}{name}.NAME", inner["description"]


def test_defaults_are_written_as_in_the_file() -> None:
    limits = SCHEMA["properties"]["limits"]["properties"]
    assert (limits["memory"]["default"], limits["time"]["default"]) == ("4GiB", "1h")
    for table in ("setup", "network", "limits", "cache", "review"):
        defaults = {
            key: it["default"] for key, it in SCHEMA["properties"][table]["properties"].items() if "default" in it
        }
        assert VALIDATOR.is_valid({table: defaults}), defaults
