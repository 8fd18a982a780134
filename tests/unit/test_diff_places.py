"""Which lines a diff shows, and where a line went."""

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloister.diff_places import Moved, find_place, shown_lines
from cloister.model.finding import Side

DIFF = b"""\
diff --git a/x.py b/y.py
similarity index 50%
rename from x.py
rename to y.py
--- a/x.py
+++ b/y.py
@@ -1,3 +1,4 @@
 a
-b
+c
+d
 e
@@ -20 +21 @@ def z
-p
+q
diff --git a/old b/new
similarity index 100%
rename from old
rename to new
diff --git a/gone b/gone
deleted file mode 100644
--- a/gone
+++ /dev/null
@@ -1 +0,0 @@
-zz
"""


def test_lines_are_found_on_their_side_and_in_one_hunk() -> None:
    shown = shown_lines(DIFF)
    place = find_place(shown, "y.py", Side.RIGHT, 2, 3)
    assert place is not None
    assert (place.line, place.start_line, place.text, place.whole) == (3, 2, "c\nd", True)
    across = find_place(shown, "y.py", Side.RIGHT, 4, 21)
    assert across is not None
    assert (across.line, across.start_line, across.whole) == (21, None, False)
    old = find_place(shown, "gone", Side.LEFT, 1, 1)
    assert old is not None
    assert old.text == "zz"
    assert find_place(shown, "y.py", Side.RIGHT, 5, 5) is None
    assert find_place(shown, "x.py", Side.RIGHT, 2, 2) is None
    assert find_place(shown, "gone", Side.RIGHT, 1, 1) is None


def test_what_is_no_diff_shows_nothing() -> None:
    assert shown_lines(b"@@ -1 +1 @@\n-a\n") == {}
    assert shown_lines(b"--- a/x\n+++ b/x\n@@ -1,9 +1,9 @@\n a\n") == {}


def test_a_renamed_file_is_followed_and_a_removed_one_is_not() -> None:
    moved = Moved(DIFF)
    assert moved.find("old", 7) == ("new", 7)
    assert moved.find("x.py", 10) == ("y.py", 11)
    assert moved.find("x.py", 20) is None
    assert moved.find("gone", 1) is None
    assert moved.find("other", 3) == ("other", 3)


_LINES = st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=12)


@settings(max_examples=40, deadline=None)
@given(old=_LINES, new=_LINES)
def test_a_line_that_is_followed_reads_as_before(
    tmp_path_factory: pytest.TempPathFactory, old: list[str], new: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("diff")
    for name, lines in (("a", old), ("b", new)):
        (folder / name).write_text("".join(f"{line}\n" for line in lines))
    command = ["git", "diff", "--no-index", "--no-prefix", "-U0", "a", "b"]
    raw = subprocess.run(command, cwd=folder, capture_output=True, check=False).stdout
    raw = (
        raw.replace(b"diff --git a b", b"diff --git a/f b/f")
        .replace(b"--- a\n", b"--- a/f\n")
        .replace(b"+++ b\n", b"+++ b/f\n")
    )
    moved = Moved(raw)
    for number, line in enumerate(old, 1):
        found = moved.find("f", number)
        if found is not None:
            assert new[found[1] - 1] == line
    if old == new:
        assert all(moved.find("f", number) == ("f", number) for number in range(1, len(old) + 1))
