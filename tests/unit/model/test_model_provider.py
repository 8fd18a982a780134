"""Where providers are, and what their models cost."""

import pytest

from cloister.model.model_provider import (
    ModelProvider,
    known_providers,
    parse_base,
    parse_choice,
    parse_provider_name,
    preset,
)
from cloister.model.model_usage import Price


@pytest.mark.parametrize(
    "text",
    [
        *("", "api.example.com", "ftp://api.example.com", "https://", "https://me:pw@api.example.com/v1"),
        *("https://api.example.com/v1#x", "https://api.example.com/a/../b", "https://api.example.com//v1"),
        *("https://api.example.com/%2e", "https://api.example.com/v 1", "https://api.example.com/v1\r\nX: 1"),
        *("https://api.example.com:0", "https://api.example.com:70000", "https://127.1/", "https://0x7f000001/"),
        *("https://api_example.com", "https://-x.example.com", "https://ä.example.com"),
    ],
)
def test_what_is_no_base_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_base(text)


@pytest.mark.parametrize(
    ("text", "shown", "query", "own"),
    [
        ("https://API.example.com/v1/", "https://api.example.com/v1", (), False),
        ("https://x.example.com:8443?api-version=1", "https://x.example.com:8443", (("api-version", "1"),), False),
        ("http://localhost:11434/v1", "http://127.0.0.1:11434/v1", (), True),
        ("http://[::1]:80", "http://[::1]:80", (), True),
        ("http://10.0.0.5/v1", "http://10.0.0.5/v1", (), True),
        ("https://8.8.8.8/v1", "https://8.8.8.8/v1", (), False),
    ],
)
def test_a_base_address_has_one_form(text: str, shown: str, query: object, own: bool) -> None:
    base = parse_base(text)
    assert (str(base), base.query, base.is_own_address) == (shown, query, own)
    assert str(parse_base(shown)) == shown


@pytest.mark.parametrize("name", ["", "Open", "a_b", "1a", "-a", "a" * 33, "a/b", "a b"])
def test_what_is_no_name_of_a_provider_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        parse_provider_name(name)


@pytest.mark.parametrize("text", ["", "openai/", "/gpt", "openai/a b", "openai/\n", "OpenAI/x"])
def test_what_is_no_choice_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="name"):
        parse_choice(text)


def test_a_model_may_have_slashes_in_its_name() -> None:
    choice = parse_choice("hub/meta-llama/llama-4:free")
    assert (choice.provider, choice.model) == ("hub", "meta-llama/llama-4:free")
    assert str(choice) == "hub/meta-llama/llama-4:free"
    assert parse_choice("hub").model is None


def test_a_price_is_for_dated_versions_of_a_model_and_for_no_other() -> None:
    price = Price(input=1.0, output=2.0)
    provider = ModelProvider(**{**_fields(preset("openai", "openai")), "prices": {"gpt-5": price}})
    assert (
        provider.price_of("gpt-5")
        == provider.price_of("gpt-5-2025-08-07")
        == provider.price_of("gpt-5-20250807")
        == price
    )
    assert provider.price_of("gpt-5-mini") is provider.price_of("gpt") is provider.price_of("") is None


def _fields(provider: ModelProvider) -> dict[str, object]:
    return {name: getattr(provider, name) for name in ("name", "apis", "base")}


def test_an_azure_or_other_server_needs_its_address() -> None:
    for kind in ("azure", "compatible"):
        with pytest.raises(ValueError, match="base"):
            preset(kind, "mine")
    assert [provider.name for provider in known_providers()] == ["openai", "anthropic", "gemini"]
