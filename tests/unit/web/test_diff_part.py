"""Parts of a diff are what the whole is, at those places."""

import pytest

from cloister.web.diff_part import part_of
from cloister.web.diff_view import FileDiff, Row, files_of, rows_of


def _long() -> FileDiff:
    hunks = []
    for hunk in range(4):
        lines = "".join(
            f" same {hunk} {n}\n-was {hunk} {n}\n+is {hunk} {n}\n" + ("+more\n" if n % 7 == 0 else "")
            for n in range(30)
        )
        old = new = 0
        for line in lines.splitlines():
            old += line[0] in " -"
            new += line[0] in " +"
        hunks.append(f"@@ -{hunk * 1000 + 1},{old} +{hunk * 1100 + 1},{new} @@ def f{hunk}():\n{lines}")
    text = "".join(hunks) + "\\ No newline at end of file\n"
    (file,) = files_of(f"diff --git a/x b/x\nindex 1..2 100644\n--- a/x\n+++ b/x\n{text}".encode())
    return file


def _plain(rows: list[Row]) -> list[tuple[str, int | None, int | None, str, str]]:
    return [(row.sign, row.old, row.new, "".join(text for text, _ in row.parts), row.heading[:0]) for row in rows]


@pytest.mark.parametrize("start", [0, 1, 2, 50, 95, 96, 189, 300])
@pytest.mark.parametrize("length", [1, 2, 40, 100, 1000])
def test_a_part_has_the_rows_and_numbers_of_the_whole(start: int, length: int) -> None:
    file = _long()
    whole = rows_of(file)
    rows, total = part_of(file, start, start + length)
    assert total == len(whole)
    assert _plain(rows) == _plain(whole[start : start + length])


def test_behind_the_end_is_nothing() -> None:
    assert part_of(_long(), 10_000, 11_000)[0] == []
