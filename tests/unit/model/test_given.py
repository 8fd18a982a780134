from hypothesis import given
from hypothesis import strategies as st

from cloister.model.given import is_image, safe_names


@given(st.lists(st.text(), max_size=30))
def test_every_name_is_safe_and_its_own(names: list[str]) -> None:
    safe = safe_names(names)
    assert len(safe) == len(names) == len({name.lower() for name in safe})
    for name in safe:
        assert name and name[0].isalnum() and name.isascii() and len(name) < 120
        assert not set(name) - set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


def test_a_plain_name_stays_as_it_is() -> None:
    assert safe_names(["notes.txt", "../../etc/passwd", "a.tar.gz", "", "notes.txt", "NOTES.txt"]) == [
        "notes.txt",
        "passwd",
        "a.tar.gz",
        "file",
        "notes-2.txt",
        "NOTES-3.txt",
    ]


def test_pictures_are_known_by_how_they_begin() -> None:
    assert is_image(b"\x89PNG\r\n\x1a\n...") and is_image(b"RIFF\0\0\0\0WEBP") and is_image(b"GIF89a")
    assert not is_image(b"") and not is_image(b"#!/bin/sh") and not is_image(b"<svg>")
