"""Diffs as pages show them."""

import pytest

from cloister.model.flag import Flag, FlagKind
from cloister.web.diff_view import CHANGED_AT_ONCE, FOLDED_FROM, Row, files_of, rows_of, side_by_side, unfolded

CHANGED = b"""\
diff --git a/a b.py b/a b.py
index 1..2 100644
--- a/a b.py\t
+++ b/a b.py\t
@@ -1,4 +1,4 @@ def f():
 same
-if total >= most:
+if total > most:
 x\x0cy\rz
-last
\\ No newline at end of file
+last
"""
NEW = b"""\
diff --git a/new.txt b/new.txt
new file mode 100644
index 0..1
--- /dev/null
+++ b/new.txt
@@ -0,0 +1,2 @@
+one
+-- two
"""
BINARY = (
    b"diff --git a/x.bin b/x.bin\nnew file mode 100644\nindex 0..1\n"
    b"GIT binary patch\nliteral 1\nIcmZPo000310RR91\n\nliteral 0\nHcmV?d00001\n\n"
)
MODE = b"diff --git a/run.sh b/run.sh\nold mode 100644\nnew mode 100755\n"


def test_files_come_with_what_became_of_them_and_their_flags() -> None:
    flag = Flag(kind=FlagKind.BINARY, path="x.bin")
    files = files_of(CHANGED + NEW + BINARY + MODE, [flag])
    told = [(file.number, file.path, file.what, file.added, file.removed) for file in files]
    assert told == [
        (1, "a b.py", "changed", 2, 2),
        (2, "new.txt", "new", 2, 0),
        (3, "x.bin", "binary", 0, 0),
        (4, "run.sh", "mode", 0, 0),
    ]
    assert [file.flags for file in files] == [(), (), (flag,), ()]
    assert files_of(b"") == []


def test_rows_have_their_numbers_and_the_words_that_differ() -> None:
    (file,) = files_of(CHANGED)
    rows = rows_of(file)
    assert rows[0].heading == "@@ -1,4 +1,4 @@ def f():"
    assert [(row.sign, row.old, row.new) for row in rows[1:5]] == [
        (" ", 1, 1), ("-", 2, None), ("+", None, 2), (" ", 3, 3),
    ]  # fmt: skip
    assert rows[2].parts == (("if total >", False), ("=", True), (" most:", False))
    assert rows[3].parts == (("if total >", False), (" most:", False))
    assert rows[4].parts == (("x\x0cy\rz", False),), "what else ends lines does not end one of git's"
    assert [row.sign for row in rows[5:]] == ["-", "\\", "+"]


@pytest.mark.parametrize("diff", [BINARY, MODE])
def test_what_has_no_lines_has_no_rows(diff: bytes) -> None:
    assert rows_of(files_of(diff)[0]) == []


def test_what_is_no_diff_is_shown_as_it_is() -> None:
    broken = b"diff --git a/a b/a\n--- a/a\n+++ b/a\n@@ -1,9 +1,9 @@\n one\n*what\n"
    assert Row(parts=(("*what", False),)) in rows_of(files_of(broken)[0])


def test_sides_stand_beside_each_other() -> None:
    old, new, more = Row(sign="-", old=1), Row(sign="+", new=1), Row(sign="+", new=2)
    same, gone = Row(old=2, new=3), Row(sign="-", old=3)
    pairs = side_by_side([old, new, more, same, gone])
    assert [(pair.left, pair.right) for pair in pairs] == [(old, new), (None, more), (same, same), (gone, None)]


def test_a_long_file_is_folded() -> None:
    lines = b"+x\n" * (FOLDED_FROM + 1)
    head = b"diff --git a/a b/a\nnew file mode 100644\n--- /dev/null\n+++ b/a\n@@ -0,0 +1,%d @@\n"
    (long,) = files_of(head % (FOLDED_FROM + 1) + lines)
    assert long.folded
    assert not files_of(NEW)[0].folded


def test_a_page_shows_no_more_than_it_can_bear() -> None:
    lines = 300
    head = b"diff --git a/a b/a\nnew file mode 100644\n--- /dev/null\n+++ b/a\n@@ -0,0 +1,300 @@\n"
    shown = unfolded(files_of((head + b"+x\n" * lines) * 10 + NEW))
    assert [file.number for file in shown] == [1, 2, 3, 4, 5, 6, 11]
    assert sum(file.added for file in shown) <= CHANGED_AT_ONCE


def test_a_path_that_is_no_text_can_be_shown() -> None:
    (file,) = files_of(b'diff --git "a/\xff.txt" "b/\xff.txt"\nold mode 100644\nnew mode 100755\n')
    file.path.encode()
