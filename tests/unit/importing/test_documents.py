"""What strangers wrote is read within bounds, or refused in one sentence."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister.errors import UsageError
from cloister.importing import ImportedEnvironment, convert
from cloister.importing.documents import LARGEST_SOURCE_BYTES, parse_json, parse_yaml

WORKFLOW = ".github/workflows/copilot-setup-steps.yml"
DEVCONTAINER = ".devcontainer/devcontainer.json"
BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join(['*' + before] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


def converted(path: str, raw: bytes) -> ImportedEnvironment:
    return convert(raw, path=path, commit="0" * 40, workspace="/workspace/x", others=(), default_name="x")


@pytest.mark.parametrize(
    ("path", "raw", "message"),
    [
        (WORKFLOW, BOMB.encode(), "more than 20,000 parts"),
        (WORKFLOW, b"a: &a [*a]", "nested too deeply"),
        (WORKFLOW, b"a: " + b"[" * 5000, "nested too deeply"),
        (WORKFLOW, b"- " * 5000 + b"x", "nested too deeply"),
        (WORKFLOW, b"a" * (LARGEST_SOURCE_BYTES + 1), "larger than 64 KiB"),
        (WORKFLOW, b"a: \xff", "byte 3 is not UTF-8"),
        (WORKFLOW, b"a: b: c", "line 1: not YAML"),
        (WORKFLOW, b"a: \x07", "not YAML"),
        (WORKFLOW, b"a: *nobody", "line 1: not YAML"),
        (WORKFLOW, b"--- a\n--- b\n", "not YAML"),
        (WORKFLOW, b"", "no job copilot-setup-steps"),
        (WORKFLOW, b"!!python/object/apply:os.system [ls]", "no job copilot-setup-steps"),
        (WORKFLOW, b"jobs: {copilot-setup-steps: no table}", "no job copilot-setup-steps"),
        (WORKFLOW, b"jobs: {other: {steps: []}}", "no job copilot-setup-steps"),
        (DEVCONTAINER, b"[" * 5000, "nested too deeply"),
        (DEVCONTAINER, b'{"a": ' * 200, "nested too deeply"),
        (DEVCONTAINER, b"[]", "holds no object"),
        (DEVCONTAINER, b'{"a": "\\ud800"}', "not JSON"),
        (DEVCONTAINER, b"{'postCreateCommand': ", "not JSON"),
        (DEVCONTAINER, b"", "not JSON"),
        (".cursor/environment.json", b'{"install": ["npm ci"]}', "install is no text"),
        (".cursor/environment.json", b'{"terminals": ["npm start"]}', "number 1 is no object"),
        (".openhands/setup.sh", b"\n", "is empty"),
        (".openhands/setup.sh", b"echo \0", "NUL"),
        ("setup.sh", b"make", "is no file that can be imported"),
        (DEVCONTAINER, b'{"postCreateCommand": "echo \\u0000"}', "what no environment file can"),
    ],
)
def test_what_cannot_be_read_is_refused(path: str, raw: bytes, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        converted(path, raw)
    assert path in str(caught.value)


def test_what_is_just_within_the_bounds_is_read() -> None:
    line = "x" * (LARGEST_SOURCE_BYTES - 100)
    assert line in converted(DEVCONTAINER, f'{{"onCreateCommand": "{line}"}}'.encode()).text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def of_keys(*keys: str) -> st.SearchStrategy[Any]:
    return st.dictionaries(st.sampled_from(keys) | st.text(), JSON, max_size=5)


STEPS = st.lists(of_keys("run", "uses", "with", "env", "name", "if", "shell", "working-directory") | JSON, max_size=3)
JOB = st.builds(
    lambda job, steps: {**job, "steps": steps},
    of_keys("env", "services", "container", "timeout-minutes", "strategy", "defaults"),
    STEPS,
)
HOSTILE = (
    st.tuples(st.just(WORKFLOW), JOB.map(lambda job: {"jobs": {"copilot-setup-steps": job}}))
    | st.tuples(st.just(".cursor/environment.json"), of_keys("install", "start", "terminals", "build"))
    | st.tuples(
        st.just(DEVCONTAINER),
        of_keys("image", "features", "containerEnv", "remoteEnv", "onCreateCommand", "updateContentCommand", "name"),
    )
)


@given(HOSTILE)
def test_anything_is_made_into_a_valid_file_or_refused(hostile: tuple[str, object]) -> None:
    """Whether the file is valid is checked by the conversion itself, which says so by a UsageError."""
    path, document = hostile
    with suppress(UsageError):
        converted(path, json.dumps(document).encode())


def test_yaml_is_text_that_knows_its_line() -> None:
    document = parse_yaml(b"on: [push]\nversion: 3.10\nwhen: 2020-01-01\nempty:\nnothing: ~\n'quoted': '~'\n", "x")
    assert {key: item.text for key, item in document.table.items()} == {
        "on": None,
        "version": "3.10",
        "when": "2020-01-01",
        "empty": "",
        "nothing": "",
        "quoted": "~",
    }
    assert document.table["when"].line == 3
    assert [item.text for item in document.table["on"].items] == ["push"]


def test_an_alias_stands_for_what_it_names() -> None:
    document = parse_yaml(b"a: &a {x: 1}\nb: *a\n", "x")
    assert document.find_text("b", "x") == "1"


def test_json_may_have_comments_and_trailing_commas() -> None:
    raw = b'\xef\xbb\xbf// one\n{"a": /* two */ ["//", "/* */",], "b": "http://example.com",}\n'
    assert parse_json(raw, "x") == {"a": ["//", "/* */"], "b": "http://example.com"}


def test_what_is_too_much_of_one_thing_is_left() -> None:
    terminals = json.dumps({"terminals": [{"name": "a", "command": "b"}] * 1500})
    many = converted(".cursor/environment.json", terminals.encode())
    assert many.text.count(' = "b"') == 100
    assert any("100 services already" in note.text for note in many.left)
    long = f"jobs: {{copilot-setup-steps: {{timeout-minutes: {'9' * 5000}, steps: [{{run: make}}]}}}}"
    assert [note.where for note in converted(WORKFLOW, long.encode()).left] == ["line 1, timeout-minutes"]
