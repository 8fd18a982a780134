"""Which bytes are a picture, and how much of a flood a page gets."""

import pytest

from cloister.web.live_output import MOST_CHARACTERS, newest_of
from cloister.web.pictures import type_of


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n...", "image/png"),
        (b"\xff\xd8\xff\xe0...", "image/jpeg"),
        (b"GIF89a...", "image/gif"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "image/webp"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", None),
        (b"<!doctype html><script>", None),
        (b"\x89PNG", None),
        (b"RIFF\x00\x00\x00\x00WAVE", None),
        (b"%PDF-1.7", None),
        (b"", None),
    ],
)
def test_a_picture_is_known_by_how_it_begins(data: bytes, kind: str | None) -> None:
    assert type_of(data) == kind


def test_of_a_flood_the_newest_whole_lines_are_told() -> None:
    assert newest_of("short\n") == ("short\n", 0)
    flood = "".join(f"line {number}\n" for number in range(100_000))
    newest, left_out = newest_of(flood)
    assert len(newest) <= MOST_CHARACTERS
    assert newest.startswith("line ") and newest.endswith("line 99999\n")
    assert left_out + len(newest) == len(flood)
    newest, left_out = newest_of("x" * (MOST_CHARACTERS + 5))
    assert (len(newest), left_out) == (MOST_CHARACTERS, 5), "also without line ends"
