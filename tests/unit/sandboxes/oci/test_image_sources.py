from pathlib import Path

import pytest

from cloister.sandboxes.oci.image_sources import host_sources, select_sources


def _targets(*rows: tuple[str, str, str, str]) -> str:
    return "\n".join("\t".join(row) for row in rows)


@pytest.mark.parametrize(
    "row",
    [
        ("bookworm", "bookworm", "stable", "https://vendor.test/linux/debian/"),
        ("bookworm", "bookworm", "non-free", "http://mirror.test/debian/"),
        ("bookworm-backports", "bookworm-backports", "main", "http://mirror.test/debian/"),
        ("bookworm-pgdg", "bookworm-pgdg", "main", "http://vendor.test/"),
        ("trixie", "trixie", "main", "http://mirror.test/debian/"),
        ("bookworm", "bookworm", "main", "cdrom:[Debian]/"),
        ("bookworm", "bookworm", "main", "file:/srv/mirror/"),
    ],
)
def test_other_releases_vendors_and_media_are_left_out(row: tuple[str, str, str, str]) -> None:
    own = ("bookworm", "bookworm", "main", "http://mirror.test/debian/")
    assert select_sources(_targets(own, row), codename="bookworm", keyring=None) == (
        "deb http://mirror.test/debian/ bookworm main",
    )


def test_without_the_release_itself_nothing_is_taken() -> None:
    targets = _targets(("bookworm-security", "bookworm-security", "main", "http://mirror.test/"))
    assert select_sources(targets, codename="bookworm", keyring=None) == ()
    assert select_sources("", codename="bookworm", keyring=None) == ()


def test_updates_security_and_universe_belong_to_the_release() -> None:
    targets = _targets(
        ("noble", "noble", "main", "http://mirror.test/ubuntu/"),
        ("noble", "noble", "universe", "http://mirror.test/ubuntu/"),
        ("noble-updates", "noble-updates", "main", "http://mirror.test/ubuntu/"),
        ("noble-security", "noble-security", "main", "http://security.test/ubuntu/"),
        ("noble", "noble", "main", "http://mirror.test/ubuntu/"),
    )
    assert select_sources(targets, codename="noble", keyring=Path("/k.gpg")) == (
        "deb [signed-by=/k.gpg] http://mirror.test/ubuntu/ noble main",
        "deb [signed-by=/k.gpg] http://mirror.test/ubuntu/ noble universe",
        "deb [signed-by=/k.gpg] http://mirror.test/ubuntu/ noble-updates main",
        "deb [signed-by=/k.gpg] http://security.test/ubuntu/ noble-security main",
    )


def test_a_source_that_says_stable_is_known_by_its_codename() -> None:
    targets = _targets(("stable", "bookworm", "main", "http://mirror.test/debian/"))
    assert select_sources(targets, codename="bookworm", keyring=None) == (
        "deb http://mirror.test/debian/ bookworm main",
    )


async def test_this_host_names_its_release() -> None:
    sources = await host_sources()
    assert sources.codename
    assert all(f" {sources.codename}" in line for line in sources.lines)
