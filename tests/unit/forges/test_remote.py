"""An advertisement is a stranger's text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister.forges.remote import is_ref_name, parse_advertisement

A, B = "a" * 40, "b" * 40


@pytest.mark.parametrize(
    "name",
    [
        *(
            "refs/heads/../../x",
            "refs/heads/a..b",
            "refs/heads/.x",
            "refs/heads/x/.y",
            "refs/heads/x.lock",
            "refs/heads/",
        ),
        *("refs/heads/-x", "refs/heads/a b", "refs/heads/a\x7f", "refs/heads/a~1", "refs/heads/a^", "refs/heads/a:b"),
        *("refs/heads/a?", "refs/heads/a*", "refs/heads/a[", "refs/heads/a\\b", "refs/heads/a//b", "refs/heads/a/"),
        *("refs/heads/a.", "refs/heads/a@{0}", "refs/heads//a", "refs/heads/x.lock/y", "refs/notes/x", "HEAD", ""),
    ],
)
def test_names_that_git_forbids_are_left_out(name: str) -> None:
    assert not is_ref_name(name)
    assert parse_advertisement("x", f"{A}\t{name}\n").refs == {}


def test_reads_branches_tags_and_head() -> None:
    text = f"ref: refs/heads/main\tHEAD\n{A}\tHEAD\n{A}\trefs/heads/main\n{B}\trefs/tags/v1\n{A}\trefs/tags/v1^{{}}\n"
    remote = parse_advertisement("x", text)
    assert remote.default() == ("main", A)
    assert (remote.find("v1"), remote.find("main"), remote.find("v2")) == (A, A, None)
    assert remote.refs == {"refs/heads/main": A, "refs/tags/v1": B}


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    parse_advertisement("x", text)
