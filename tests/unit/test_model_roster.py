"""Which model an agent gets, with which key, and why not."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from cloister.errors import NotFoundError, UsageError
from cloister.model.ceiling import UNBOUNDED, Ceiling
from cloister.model.environment import Environment, Limits, NetworkRecipe
from cloister.model.model_access import ModelApi
from cloister.model.model_provider import KeySource, ModelProvider, known_providers, parse_base, preset
from cloister.model.model_usage import Price
from cloister.model.secret import SecretValue
from cloister.model_roster import ModelRoster
from cloister.vault.fake import FakeVault

KEY = "sk-0123456789"
HUB = replace(
    preset("compatible", "hub", base="https://hub.example.com/v1"), key=KeySource(value=SecretValue(KEY)), model="m-1"
)
LOCAL = replace(preset("compatible", "local", base="http://127.0.0.1:1/v1"), key=KeySource(absent=True))
ENVIRONMENT = Environment(name="web")


def _roster(
    *providers: ModelProvider, ceiling: Ceiling = UNBOUNDED, environ: dict[str, str] | None = None
) -> ModelRoster:
    return ModelRoster(
        vault=FakeVault(), providers=(*providers, *known_providers()), ceiling=ceiling, environ=environ or {}
    )


async def _refusal(roster: ModelRoster, api: ModelApi | None, environment: Environment = ENVIRONMENT) -> str:
    with pytest.raises(UsageError) as caught:
        await roster.check(api, environment, agent="robot")
    assert KEY not in str(caught.value) + (caught.value.hint or "")
    return f"{caught.value} | {caught.value.hint}"


# Refusals


async def test_a_missing_key_names_the_command_that_gives_it() -> None:
    assert "cloister model set-key openai" in await _refusal(_roster(), ModelApi.RESPONSES)


async def test_a_provider_that_does_not_speak_the_agents_protocol_is_refused() -> None:
    environment = replace(ENVIRONMENT, model="hub")
    assert "robot speaks the protocol messages" in await _refusal(_roster(HUB), ModelApi.MESSAGES, environment)
    roster = ModelRoster(vault=FakeVault(), providers=[HUB])
    assert "no provider does" in await _refusal(roster, ModelApi.GEMINI)


async def test_an_unknown_provider_names_the_known_ones() -> None:
    assert "hub, openai, anthropic, gemini" in await _refusal(_roster(HUB), None, replace(ENVIRONMENT, model="hup"))


@pytest.mark.parametrize(
    ("network", "ceiling", "told"),
    [
        (NetworkRecipe(deny=("example.com",)), Ceiling(), "network.deny of environment web holds example.com"),
        (NetworkRecipe(), Ceiling(deny=("hub.example.com",)), "the operator's network_deny holds hub.example.com"),
        (NetworkRecipe(), Ceiling(allow=("other.org",)), "the operator's network_allow does not hold hub.example.com"),
    ],
)
async def test_a_host_that_may_not_be_reached_is_said_at_once(
    network: NetworkRecipe, ceiling: Ceiling, told: str
) -> None:
    environment = replace(ENVIRONMENT, model="hub", network=network)
    assert told in await _refusal(_roster(HUB, ceiling=ceiling), None, environment)
    await _roster(LOCAL, ceiling=ceiling).check(None, replace(environment, model="local"), agent="robot")


async def test_a_budget_in_money_needs_a_price() -> None:
    environment = replace(ENVIRONMENT, model="hub", limits=Limits(cost=1.0))
    assert "no price of m-1 of hub" in await _refusal(_roster(HUB), None, environment)
    priced = replace(HUB, prices={"m-1": Price(input=1, output=1)})
    await _roster(priced).check(None, environment, agent="robot")
    other = replace(environment, model="hub/m-2")
    assert "no price of m-2 of hub" in await _refusal(_roster(priced), None, other)


@pytest.mark.parametrize(
    ("content", "mode", "told"),
    [
        (None, 0o600, "cannot be read"),
        (KEY, 0o604, "chmod o="),
        ("short", 0o600, "fewer than 6 characters"),
        (f"{KEY}\n{KEY}", 0o600, "no header can carry"),
        ("ä" * 10, 0o600, "more than a key"),
    ],
)
async def test_a_key_file_that_will_not_do_is_refused(
    tmp_path: Path, content: str | None, mode: int, told: str
) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_text(content)
        file.chmod(mode)
    provider = replace(HUB, key=KeySource(file=file))
    assert told in await _refusal(_roster(provider), None, replace(ENVIRONMENT, model="hub"))


async def test_a_variable_that_is_not_there_is_named() -> None:
    provider = replace(HUB, key=KeySource(variable="HUB_KEY"))
    environment = replace(ENVIRONMENT, model="hub")
    assert "the variable HUB_KEY" in await _refusal(_roster(provider), None, environment)
    await _roster(provider, environ={"HUB_KEY": KEY}).check(None, environment, agent="robot")


async def test_a_key_that_would_not_be_used_is_not_kept() -> None:
    with pytest.raises(UsageError, match="the settings say where the key of hub is"):
        await _roster(HUB).set_key("hub", KEY)
    with pytest.raises(UsageError, match="no header can carry"):
        await _roster().set_key("openai", "two\nlines")
    with pytest.raises(NotFoundError, match="no provider opemai"):
        await _roster().set_key("opemai", KEY)
    with pytest.raises(NotFoundError, match="no key of openai"):
        await _roster().remove_key("openai")


# What is given


async def test_an_agent_that_needs_no_model_gets_none() -> None:
    assert await _roster(HUB).open(None, ENVIRONMENT, "t-1", agent="command") is None


async def test_the_first_of_the_settings_answers_else_a_known_one_with_a_key() -> None:
    roster = _roster(HUB, LOCAL)
    opened = await roster.open(ModelApi.CHAT, ENVIRONMENT, "t-1", agent="robot")
    assert opened is not None
    assert str(opened) == "hub/m-1"
    await roster.set_key("anthropic", KEY)
    other = await roster.open(ModelApi.MESSAGES, ENVIRONMENT, "t-1", agent="robot")
    assert other is not None
    assert str(other) == "anthropic"
    assert [one.key for one in await roster.list()] == ["settings", "not needed", "", "vault", ""]


async def test_the_sandbox_is_told_a_placeholder_and_the_proxy_the_key(tmp_path: Path) -> None:
    azure = replace(
        preset("azure", "azure", base="https://x.example.com/openai?v=1"), key=KeySource(value=SecretValue(KEY))
    )
    opened = await _roster(azure).open(ModelApi.CHAT, replace(ENVIRONMENT, model="azure/m"), "t-1", agent="robot")
    assert opened is not None
    assert KEY not in repr(opened)
    assert opened.grant.value.reveal() == KEY
    assert (opened.access.base_url, opened.access.model) == ("http://127.0.0.1:3130", "m")
    assert opened.access.placeholder == opened.grant.placeholder != KEY
    grant = opened.grant
    assert (grant.upstream, grant.header, grant.hosts) == (
        "https://x.example.com/openai",
        "api-key",
        ("x.example.com",),
    )
    assert grant.model is not None
    assert (grant.model.query, grant.model.plain) == ((("v", "1"),), False)
    again = await _roster(azure).open(ModelApi.CHAT, replace(ENVIRONMENT, model="azure/m"), "t-1", agent="robot")
    assert again == opened, "a worker that takes over finds the program with this placeholder"


async def test_a_key_file_is_read_anew_each_time(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(KEY + "\n")
    file.chmod(0o600)
    roster = _roster(replace(HUB, key=KeySource(file=file)))
    key = await roster.key_of(roster.get("hub"))
    assert key is not None
    assert key.reveal() == KEY
    file.write_text("another-key")
    key = await roster.key_of(roster.get("hub"))
    assert key is not None
    assert key.reveal() == "another-key"


def test_variables_of_the_process_are_looked_at_by_default() -> None:
    assert ModelRoster(vault=FakeVault()).environ is os.environ
    assert parse_base("https://hub.example.com/v1") == HUB.base
