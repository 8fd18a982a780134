import tomllib

from hypothesis import example, given
from hypothesis import strategies as st

from cloister.importing.draft import on_one_line
from cloister.importing.toml_writer import comment, string

ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("\"'\\\n\r\t #"))


@given(ANY_TEXT)
@example('"""\n')
@example("'''\n''\"\"\"")
@example('\n"')
@example('\n""""""')
@example("\n\\")
@example("\r\n")
@example("a\rb\n")
@example("x\n  \\\n y\n")
def test_a_string_is_read_as_it_was(text: str) -> None:
    assert tomllib.loads(f"a = {string(text)}\nb = 1\n") == {"a": text, "b": 1}


@given(ANY_TEXT)
def test_a_string_hides_no_character(text: str) -> None:
    assert [one for one in string(text) if not one.isprintable() and one not in "\n\t"] == []


@given(st.text() | st.text("a \n\r\u2028\x85\x0b\x1c[]=#", min_size=90))
def test_a_comment_is_nothing_but_a_comment(text: str) -> None:
    written = comment(on_one_line(text), first="- ", then="  ")
    assert tomllib.loads(f"{written}\nb = 1\n") == {"b": 1}
    assert all(line.startswith("#") for line in written.split("\n"))


def test_what_a_shell_reads_stays_readable() -> None:
    assert string("a \\\n  'b' \"c\"\n") == "'''\na \\\n  'b' \"c\"\n'''"
