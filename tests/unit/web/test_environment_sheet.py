"""The form beside an environment's text: it changes what is changed in it, and nothing else."""

import tomllib

import pytest

from cloister.environment_file import read_environment
from cloister.environment_json_schema import environment_json_schema
from cloister.errors import EnvironmentFileError
from cloister.web.environment_fields import Kind, fields, groups, tables
from cloister.web.environment_sheet import MOST_ROWS, change_text, left_to_the_text, read_sheet, rows_of

TEXT = """\
# of the shop
image = "base"  # the small one

[network] # who may be reached
setup = "full"
agent = "off" # nobody

# all of these have to pass
[checks]
lint = "ruff check ." # quick
test = { command = "pytest -q", timeout = "10m" }

[checks.deep]
command = "make deep"
# the end
"""


def changed(text: str, **now: str) -> str:
    """Change what the form shows of a text: `network__agent` is the field `network.agent`."""
    was = read_sheet(text, "t")
    return change_text(text, was, {**was, **{key.replace("__", "."): value for key, value in now.items()}}, "t")


def row(text: str, **now: str) -> str:
    """Change an entry's field: `checks_0__command`, or its name: `checks_0`."""
    was = read_sheet(text, "t")
    named = {}
    for key, value in now.items():
        place, _, part = key.partition("__")
        table, _, number = place.rpartition("_")
        named[f"{table}[{number}]" + (f".{part}" if part else "")] = value
    return change_text(text, was, {**was, **named}, "t")


@pytest.mark.parametrize("text", ["a = ", "image = 1\nimage = 2", "\x00", "[network]\n[network]"])
def test_what_is_not_toml_has_no_form(text: str) -> None:
    with pytest.raises(EnvironmentFileError, match=r"^t"):
        read_sheet(text, "t")
    with pytest.raises(EnvironmentFileError, match=r"^t"):
        change_text(text, {}, {"image": "base"}, "t")


@pytest.mark.parametrize("text", ['network = "off"', "network = [1]", 'checks = "x"'])
def test_what_a_form_cannot_change_is_refused_and_stays(text: str) -> None:
    now = {"network.agent": "full"} if "network" in text else {"checks[0]": "a", "checks[0].command": "b"}
    with pytest.raises(EnvironmentFileError, match="the form cannot change this"):
        change_text(text, {}, now, "t")


def test_every_key_of_the_file_has_a_field() -> None:
    assert '"residue"' in environment_json_schema()
    keys = {field.key for field in fields()} | {table.name for table in tables()}
    assert {"image", "agent", "versions.python", "setup.script", "network.allow", "limits.tokens", "cache.ttl",
            "review.automatic", "variables", "secrets", "services", "checks"} <= keys  # fmt: skip
    assert all(group.fields or group.entries for group in groups())
    assert {field.kind for field in fields()} == set(Kind)


def test_each_field_is_written_read_by_a_task_and_shown_again() -> None:
    for field in fields():
        value = field.options[0] if field.options else field.example
        text = change_text("", {}, {field.key: value}, "t")
        read_environment(text.encode(), source="t", default_name="x")
        shown = read_sheet(text, "t")[field.key]
        assert shown == value or float(shown) == float(value), field.key
        assert change_text(text, read_sheet(text, "t"), {field.key: ""}, "t").strip() in ("", f"[{field.path[0]}]")


def test_comments_and_spelling_of_all_else_stay() -> None:
    text = changed(TEXT, network__agent="limited", network__allow="a.example, b.example", image="base-2")
    assert text == (
        TEXT.replace('agent = "off"', 'agent = "limited"')
        .replace('image = "base"', 'image = "base-2"')
        .replace("# nobody\n", '# nobody\nallow = ["a.example", "b.example"]\n')
    )
    assert changed(TEXT) == TEXT
    assert changed(TEXT, image="") == TEXT.replace('image = "base"  # the small one\n', "")


def test_entries_are_added_changed_renamed_and_taken_away() -> None:
    assert 'lint = {command = "ruff check .", timeout = "5m"} # quick' in row(TEXT, checks_0__timeout="5m")
    assert 'lint = "ruff format" # quick' in row(TEXT, checks_0__command="ruff format")
    assert tomllib.loads(row(TEXT, checks_1__timeout=""))["checks"]["test"] == {"command": "pytest -q"}
    assert tomllib.loads(row(TEXT, checks_1=""))["checks"].keys() == {"lint", "deep"}
    renamed = row(TEXT, checks_2="deeper", checks_2__timeout="1h")
    assert tomllib.loads(renamed)["checks"]["deeper"] == {"command": "make deep", "timeout": "1h"}
    added = row(TEXT, checks_3="new", checks_3__command="a\nb\n", variables_0="EMPTY", variables_0__value="")
    assert tomllib.loads(added)["checks"]["new"] == "a\nb\n"
    assert tomllib.loads(added)["variables"] == {"EMPTY": ""}
    secret = row(TEXT, secrets_0="TOKEN", secrets_0__mode="brokered", secrets_0__hosts="api.example\nb.example")
    assert tomllib.loads(secret)["secrets"]["TOKEN"] == {"mode": "brokered", "hosts": ["api.example", "b.example"]}
    assert "# the end" in added and "# of the shop" in renamed


@pytest.mark.parametrize(
    "text",
    [
        "network.agent = 'off'\nchecks.a = 'x'\n",
        "network = {agent = 'off'}\nchecks = {a = 'x'}",
        "[network]\nagent='off'\n[checks.a]\ncommand = 'x'\n",
        '"network"."agent" = """off"""\n[checks]\n"a" = \'\'\'x\'\'\'',
    ],
)
def test_it_changes_texts_however_they_are_spelled(text: str) -> None:
    was = read_sheet(text, "t")
    assert (was["network.agent"], was["checks[0].command"]) == ("off", "x")
    now = {**was, "network.agent": "full", "checks[1]": "b", "checks[1].command": "y", "image": "i", "limits.cpu": "1"}
    made = tomllib.loads(change_text(text, was, now, "t"))
    assert (made["network"]["agent"], made["checks"]["b"], made["image"], made["limits"]) == (
        *("full", "y", "i"),
        {"cpu": 1.0},
    )
    assert made["checks"]["a"] in ("x", {"command": "x"})


def test_a_form_that_is_older_than_the_text_takes_nothing_back() -> None:
    was = read_sheet(TEXT, "t")
    newer = TEXT.replace('"full"', '"limited"').replace('"base"', '"other"')
    made = tomllib.loads(change_text(newer, was, {**was, "network.agent": "full"}, "t"))
    assert (made["image"], made["network"]) == ("other", {"setup": "limited", "agent": "full"})


def test_what_is_shown_otherwise_than_it_is_is_not_changed_by_being_shown() -> None:
    text = "image = 'a\u202eb'\n[setup]\nscript = '''\na\u202e\x1b\n'''\n[variables]\nA = 'x\u2066'\n".replace(
        "\x1b", ""
    )
    was = read_sheet(text, "t")
    assert "\u202e" not in str(was)
    assert change_text(text, was, was, "t") == text


def test_what_cannot_be_what_it_should_is_left_for_the_reader_to_refuse() -> None:
    with pytest.raises(EnvironmentFileError, match=r"line 2: `limits.pids`: must be an integer"):
        read_environment(changed("", limits__pids="four").encode(), source="t", default_name="x")
    for value in ('"', "'''", '"""\n', "\\", "a\nb\\", "\u0000", "]\n[network]\nagent = 'full'"):
        made = tomllib.loads(changed("", setup__script=value))
        assert made == {"setup": {"script": value}}


def test_long_tables_are_left_to_the_text() -> None:
    text = "[variables]\n" + "".join(f'A{number} = "x"\n' for number in range(MOST_ROWS + 1))
    (variables,) = (table for table in tables() if table.name == "variables")
    assert rows_of(read_sheet(text, "t"), variables) == 0
    assert left_to_the_text(text, "t") == {"variables"}
