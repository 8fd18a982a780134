"""`[models]` in the settings, and the variables over it."""

from pathlib import Path

import pytest

from cloister.errors import UsageError
from cloister.model.model_access import ModelApi
from cloister.settings_files import load_settings

SECRET = "sk-hush-hush"


def _load(tmp_path: Path, text: str, *, mode: int = 0o600):
    file = tmp_path / "cloister.toml"
    file.write_text(text)
    file.chmod(mode)
    return load_settings(file)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[models.My_LLM]\nbase = 'https://x.example.com'", "My_LLM"),
        ("[models.one]\n", "models.one: needs its base address"),
        ("[models.azure]\n", "models.azure: needs its base address"),
        ("[models.one]\nbase = 'http://llm.example.com/v1'", "http:// would send the key"),
        ("[models.one]\nbase = 'http://8.8.8.8/v1'", "http:// would send the key"),
        ("[models.one]\nbase = 'https://localhost/v1'", "too broad"),
        ("[models.one]\nbase = 'nowhere'", "line 2"),
        ("[models.openai]\nkeyy = 'x'", "line 2: unknown key `models.openai.keyy`; did you mean `key`?"),
        ("[models.openai]\napi = 'telepathy'", "line 2"),
        ("[models.openai]\nkey = 'short'", "at least 6"),
        (f'[models.openai]\nkey = "{SECRET}\\n"', "line 2"),
        (f"[models.openai]\nkey = '{SECRET}'\nkey_file = '/x'", "more than one of key"),
        ("[models.openai]\nkey_file = 'relative'", "absolute"),
        ("[models.openai]\nheader = 'Host'", "cannot be sent in the header"),
        ("[models.openai]\nheaders = { Host = 'x' }", "cannot be sent in the header"),
        ('[models.openai]\nheaders = { X = "a\\nb" }', "no header can carry"),
        ("[models.openai]\nprices = { m = { input = -1.0, output = 1.0 } }", "greater than or equal to 0"),
        ("[models.openai]\nprices = { m = { input = 1.0 } }", "is missing"),
        ("models = 3", "`models`"),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        _load(tmp_path, text)
    assert told in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_file_with_a_key_that_everyone_can_read_is_refused(tmp_path: Path) -> None:
    text = f"[models.openai]\nkey = '{SECRET}'\n"
    with pytest.raises(UsageError, match="everyone on this machine can read it"):
        _load(tmp_path, text, mode=0o644)
    assert _load(tmp_path, text, mode=0o640).providers[0].key.value is not None
    assert _load(tmp_path, "[models.openai]\nmodel = 'm'\n", mode=0o644).providers[0].model == "m"


def test_a_key_is_not_shown(tmp_path: Path) -> None:
    settings = _load(tmp_path, f"[models.openai]\nkey = '{SECRET}'\n")
    assert SECRET not in repr(settings) + repr(settings.models) + repr(settings.providers)


def test_a_name_without_tls_needs_an_address_of_the_operators(tmp_path: Path) -> None:
    text = "upstream_addresses = { 'llm.internal' = '10.0.0.5' }\n[models.one]\nbase = 'http://llm.internal/v1'\n"
    assert _load(tmp_path, text).providers[0].base.plain


def test_providers_of_the_settings_come_first_and_presets_fill_in(tmp_path: Path) -> None:
    settings = _load(
        tmp_path,
        """
        [models.hub]
        base = "https://hub.example.com/v1"
        api = ["chat", "responses"]
        model = "m-1"
        keyless = true
        [models.team]
        preset = "azure"
        base = "https://one.openai.azure.com/openai/deployments/d"
        api_version = "2024-10-21"
        headers = { X-Team = "two" }
        prices = { "m" = { input = 1, cached = 0.5, output = 2.5 } }
        [models.anthropic]
        key_variable = "ANTHROPIC_API_KEY"
        """,
    )
    hub, team, anthropic, *known = settings.providers
    assert (hub.apis, hub.header, hub.key.absent) == ((ModelApi.CHAT, ModelApi.RESPONSES), "Authorization", True)
    assert (team.header, team.format, team.base.query) == ("api-key", "{}", (("api-version", "2024-10-21"),))
    assert (team.headers, team.prices["m"].cached) == ((("X-Team", "two"),), 0.5)
    assert (str(anthropic.base), anthropic.header) == ("https://api.anthropic.com", "x-api-key")
    assert [(it.name, it.in_settings) for it in known] == [("openai", False), ("gemini", False)]


def test_variables_win_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOISTER_MODELS_OPENAI_KEY_FILE", "/etc/other.key")
    monkeypatch.setenv("CLOISTER_MODELS_OPENAI_MODEL", "m-2")
    monkeypatch.setenv("CLOISTER_MODELS_MY_LLM_BASE", "http://127.0.0.1:1/v1")
    monkeypatch.setenv("CLOISTER_MODELS_MY_LLM_API", "chat, messages")
    monkeypatch.setenv("CLOISTER_MODELS_MY_LLM_KEYLESS", "true")
    settings = _load(tmp_path, "[models.openai]\nmodel = 'm-1'\nkey_file = '/etc/one.key'\n")
    by_name = {provider.name: provider for provider in settings.providers}
    assert (by_name["openai"].model, by_name["openai"].key.file) == ("m-2", Path("/etc/other.key"))
    assert by_name["my-llm"].apis == (ModelApi.CHAT, ModelApi.MESSAGES)
    assert by_name["my-llm"].key.absent


@pytest.mark.parametrize("name", ["CLOISTER_MODELS_OPENAI", "CLOISTER_MODELS_KEY", "CLOISTER_MODELS_OPENAI_KEYS"])
def test_a_variable_that_means_nothing_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "x")
    with pytest.raises(UsageError, match=name):
        _load(tmp_path, "")


def test_a_later_file_replaces_the_providers_that_it_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = tmp_path / "one.toml", tmp_path / "two.toml"
    one.write_text("[models.openai]\nmodel = 'a'\n[models.gemini]\nmodel = 'b'\n")
    two.write_text("[models.openai]\nmodel = 'c'\n")
    monkeypatch.setattr("cloister.settings_files.settings_files", lambda _: (one, two))
    models = {provider.name: provider.model for provider in load_settings().providers}
    assert models == {"openai": "c", "gemini": "b", "anthropic": None}
