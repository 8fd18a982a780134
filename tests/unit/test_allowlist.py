import pytest

from cloister.allowlist import builtin_presets, parse_allowlist
from cloister.errors import UsageError
from cloister.model.network import REGISTRIES


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ("com", "too broad"),
        ("co.uk", "too broad"),
        ("github.io", "too broad"),
        ("githubusercontent.com", "too broad"),
        ("s3.amazonaws.com", "too broad"),
        ("no-such-suffix", "too broad"),
        ("*", "patterns"),
        ("10.0.0.1", "address"),
        ("preset:everything", "there is no preset:everything"),
    ],
)
def test_an_entry_that_says_too_much_or_nothing_is_refused(entry: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        parse_allowlist(["example.com", entry], builtin_presets())


def test_an_unknown_preset_names_the_known_ones() -> None:
    with pytest.raises(UsageError) as caught:
        parse_allowlist(["preset:x"], {"b": (), "a": ()})
    assert caught.value.hint == "The presets are: preset:a, preset:b."


def test_domains_are_canonical_in_order_and_once_each() -> None:
    presets = {"two": ("one.org", "two.org")}
    assert parse_allowlist(["Two.org.", "preset:two", "raw.githubusercontent.com"], presets) == (
        "two.org",
        "one.org",
        "raw.githubusercontent.com",
    )


def test_the_common_dependencies_are_there() -> None:
    domains = parse_allowlist(["preset:common-dependencies"], builtin_presets())
    assert len(domains) == 64 + 1, "and the node's own registries"
    assert {"github.com", "githubusercontent.com", "rubygems.org"} <= set(domains)
    assert parse_allowlist(["preset:package-registries"], builtin_presets()) == (REGISTRIES,) == domains[-1:]


def test_an_empty_list_is_empty() -> None:
    assert parse_allowlist([], builtin_presets()) == ()
