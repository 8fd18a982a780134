import pytest

from cloister.forges.github.names import api_of, name_at

GITHUB = "https://github.com"


@pytest.mark.parametrize(
    "address",
    [
        "https://github.com.evil.example/team/shop",
        "https://evil.example/github.com/team/shop",
        "https://github.com@evil.example/team/shop",
        "https://github.com:8443/team/shop",
        "http://github.com/team/shop",
        "https://github.com/team",
        "https://github.com/team/shop/issues",
        "https://github.com/team/..",
        "https://github.com/-team/shop",
        "https://github.com/team/shop?x=1",
        "https://github.com/team/sh%2fop",
        "https://api.github.com/team/shop",
        "git@evil.example:team/shop.git",
        "/srv/github.com/team/shop",
        "file:///team/shop",
        "ext::sh -c id",
        "",
    ],
)
def test_what_is_elsewhere_has_no_name_here(address: str) -> None:
    assert name_at(GITHUB, address) is None


@pytest.mark.parametrize(
    "address",
    [
        "https://github.com/team/shop",
        "https://github.com/team/shop.git",
        "https://github.com/team/shop/",
        "https://GitHub.com/team/shop",
        "git@github.com:team/shop.git",
        "ssh://git@github.com/team/shop",
    ],
)
def test_every_form_of_an_address_is_one_name(address: str) -> None:
    assert name_at(GITHUB, address) == "team/shop"


def test_the_api_is_where_each_kind_of_github_has_it() -> None:
    assert api_of(GITHUB) == "https://api.github.com"
    assert api_of("https://github.example.com") == "https://github.example.com/api/v3"
