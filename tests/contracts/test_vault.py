"""What every `Vault` promises."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from cloister.envelope import key_id_of
from cloister.errors import NotFoundError, UsageError
from cloister.model.environment import Environment
from cloister.model.secret import BrokerRule, DeliveredSecrets, KeptSecret, SecretMode, SecretUse
from cloister.protocols import Vault
from cloister.stores.database import Database
from cloister.stores.secrets import SqlSecretStore
from cloister.vault.fake import FakeVault
from cloister.vault.keys import KeyFile
from cloister.vault.signing import SigningKeyFile
from cloister.vault.vault import SealedVault

WITH_TOKEN = Environment(name="web", secrets=(SecretUse(name="TOKEN"),))


@pytest.fixture(params=["sealed", "fake"])
def vault(request: pytest.FixtureRequest, database: Database, tmp_path: Path) -> Vault:
    if request.param == "fake":
        return FakeVault()
    return SealedVault(
        SqlSecretStore(database),
        KeyFile(tmp_path / "keys" / "master.key"),
        SigningKeyFile(tmp_path / "keys" / "record.key"),
    )


def _revealed(secrets: DeliveredSecrets) -> Mapping[str, str]:
    return {name: value.reveal() for name, value in secrets.values.items()}


@pytest.mark.parametrize(
    "name",
    [
        *("", "1ST", "A-B", "A B", "A=B", "Ä", "TOKEN\n", "PATH", "HOME", "CLOISTER_TASK", "cloister_task"),
        *("http_proxy", "HTTPS_PROXY", "LD_PRELOAD", "BASH_ENV", "SSL_CERT_FILE", "BASH_FUNC_x"),
    ],
)
async def test_a_name_that_no_secret_can_have_is_refused(vault: Vault, name: str) -> None:
    for attempt in (
        vault.set("web", name, "long enough"),
        vault.seal_for_task({"GOOD": "long enough", name: "long enough"}),
    ):
        with pytest.raises(UsageError):
            await attempt
    assert await vault.list("web") == []


@pytest.mark.parametrize(
    "value",
    [
        "",
        "short",
        "  short ",
        "      ",
        "with\0nul inside",
        "x" * (64 * 1024 + 1),
        "é" * (32 * 1024 + 1),
        "lone \udc80 one",
    ],
)
async def test_a_value_that_no_secret_can_have_is_refused_without_being_shown(vault: Vault, value: str) -> None:
    for attempt in (vault.set("web", "TOKEN", value), vault.seal_for_task({"TOKEN": value})):
        with pytest.raises(UsageError) as refusal:
            await attempt
        assert not value.strip() or value.strip() not in f"{refusal.value}{refusal.value.hint}{refusal.value.__cause__}"
    assert await vault.list("web") == []


@pytest.mark.parametrize("value", ["sixsix", "x" * 64 * 1024, "two\nlines", "ünïcödé 🔑"])
async def test_a_value_that_one_can_have_is_delivered(vault: Vault, new_task, value: str) -> None:
    await vault.set("web", "TOKEN", value)
    assert _revealed(await vault.open_for(new_task(environment=WITH_TOKEN))) == {"TOKEN": value}


async def test_a_secret_without_a_value_names_the_command_that_gives_it_one(vault: Vault, new_task) -> None:
    await vault.set("another", "TOKEN", "of another environment")
    with pytest.raises(NotFoundError, match="TOKEN") as refusal:
        await vault.open_for(new_task(environment=WITH_TOKEN))
    assert "cloister secret set web TOKEN" in str(refusal.value.hint)


RULE = BrokerRule(hosts=("api.github.com",), header="Authorization", format="Bearer {}", paths=("/repos",))
BROKERED = SecretMode.BROKERED


@pytest.mark.parametrize(
    "rule",
    [
        replace(RULE, hosts=()),
        replace(RULE, hosts=("*",)),
        replace(RULE, hosts=("127.0.0.1",)),
        replace(RULE, header=None),
        replace(RULE, query="key"),
        replace(RULE, header="Host"),
        replace(RULE, header="X: y"),
        replace(RULE, format="Bearer"),
        replace(RULE, format="{} {}"),
        replace(RULE, format="Bearer {}\r\nX: y"),
        replace(RULE, format="basic:a:b"),
        replace(RULE, methods=("get",)),
        replace(RULE, paths=("repos",)),
        replace(RULE, paths=("/a/../b",)),
        replace(RULE, paths=("/a//b",)),
        replace(RULE, paths=("/%2e",)),
    ],
)
async def test_a_rule_that_cannot_be_one_is_refused(vault: Vault, rule: BrokerRule) -> None:
    with pytest.raises(UsageError, match="TOKEN"):
        await vault.set("web", "TOKEN", "long enough", rule)
    assert await vault.list("web") == []


async def test_a_value_that_no_header_can_carry_is_refused_without_being_shown(vault: Vault) -> None:
    with pytest.raises(UsageError) as refusal:
        await vault.set("web", "TOKEN", "two\nlines", RULE)
    assert "lines" not in str(refusal.value)
    await vault.set("web", "TOKEN", "two\nlines", replace(RULE, format="basic:me"))


@pytest.mark.parametrize(
    "asked",
    [
        {"mode": SecretMode.SETUP},
        {"mode": BROKERED, "hosts": ("evil.example",)},
        {"mode": BROKERED, "hosts": ("github.com",)},
        {"mode": BROKERED, "hosts": ("api.github.com", "evil.example")},
        {"mode": BROKERED, "header": "X-Other"},
        {"mode": BROKERED, "format": "{}"},
        {"mode": BROKERED, "query": "key"},
        {"mode": BROKERED, "paths": ("/",)},
        {"mode": BROKERED, "paths": ("/reposition",)},
    ],
)
async def test_an_environment_cannot_widen_what_the_vault_says(vault: Vault, new_task, asked) -> None:
    await vault.set("web", "TOKEN", "long enough", RULE)
    with pytest.raises(UsageError, match="TOKEN"):
        await vault.open_for(new_task(environment=Environment(name="web", secrets=(SecretUse(name="TOKEN", **asked),))))


async def test_one_value_is_found_by_its_place(vault: Vault) -> None:
    await vault.set("web", "TOKEN", "a value of web")
    await vault.set("\x01place", "TOKEN", "a value of another place")
    found = await vault.find("web", "TOKEN")
    assert found is not None
    assert found.reveal() == "a value of web"
    assert await vault.find("web", "OTHER") is None
    assert await vault.find("other", "TOKEN") is None


async def test_versions_are_those_of_what_would_be_opened(vault: Vault, new_task) -> None:
    both = Environment(name="web", secrets=(SecretUse(name="TOKEN"), SecretUse(name="BROKERED")))
    with pytest.raises(NotFoundError, match="TOKEN"):
        await vault.versions(both)
    await vault.set("web", "TOKEN", "long enough")
    await vault.set("web", "BROKERED", "long enough", RULE)
    before = await vault.versions(both)
    assert before == (await vault.open_for(new_task(environment=both))).versions
    for name in ("TOKEN", "BROKERED"):
        await vault.set("web", name, "another value", RULE if name == "BROKERED" else None)
    after = await vault.versions(both)
    assert {name for name in before if before[name] != after[name]} == {"TOKEN"}
    wider = Environment(name="web", secrets=(SecretUse(name="BROKERED", mode=SecretMode.SETUP),))
    with pytest.raises(UsageError, match="BROKERED"):
        await vault.versions(wider)


async def test_a_setup_secret_cannot_be_made_a_brokered_one_by_an_environment(vault: Vault, new_task) -> None:
    await vault.set("web", "TOKEN", "long enough")
    use = SecretUse(name="TOKEN", mode=BROKERED, hosts=("evil.example",), header="Authorization")
    with pytest.raises(UsageError, match="TOKEN"):
        await vault.open_for(new_task(environment=Environment(name="web", secrets=(use,))))


@pytest.mark.parametrize(
    ("asked", "rule"),
    [
        ({}, RULE),
        ({"mode": BROKERED, "header": "authorization", "format": "Bearer {}", "hosts": ("api.github.com",)}, RULE),
        ({"mode": BROKERED, "hosts": ("eu.api.github.com",)}, replace(RULE, hosts=("eu.api.github.com",))),
        ({"mode": BROKERED, "methods": ("GET",), "paths": ("/repos/me/",)},
         replace(RULE, methods=("GET",), paths=("/repos/me",))),
    ],
)  # fmt: skip
async def test_a_brokered_secret_is_for_the_proxy_alone(vault: Vault, new_task, asked, rule) -> None:
    await vault.set("web", "TOKEN", "long enough", RULE)
    assert await vault.list("web") == [KeptSecret(name="TOKEN", rule=RULE)]
    secrets = await vault.open_for(
        new_task(environment=Environment(name="web", secrets=(SecretUse(name="TOKEN", **asked),)))
    )
    assert secrets.values == {}
    (brokered,) = secrets.brokered
    assert (brokered.name, brokered.value.reveal(), brokered.rule) == ("TOKEN", "long enough", rule)
    assert "long enough" not in repr(secrets)


async def test_a_value_that_came_with_the_task_is_brokered_by_a_whole_rule_alone(vault: Vault, new_task) -> None:
    sealed = await vault.seal_for_task({"TOKEN": "long enough"})
    whole = SecretUse(name="TOKEN", mode=BROKERED, hosts=("api.github.com",), header="X-Token")
    secrets = await vault.open_for(
        new_task(environment=Environment(name="web", secrets=(whole,)), sealed_secrets=sealed)
    )
    assert (secrets.values, [secret.rule.header for secret in secrets.brokered]) == ({}, ["X-Token"])
    for gap in (replace(whole, hosts=()), replace(whole, header=None)):
        with pytest.raises(UsageError, match="TOKEN"):
            await vault.open_for(new_task(environment=Environment(name="web", secrets=(gap,)), sealed_secrets=sealed))


async def test_a_new_rule_makes_a_new_disk_and_a_new_value_of_a_brokered_secret_none(vault: Vault, new_task) -> None:
    versions = []
    for value, rule in (("first value", RULE), ("second value", RULE), ("second value", replace(RULE, header="X-A"))):
        await vault.set("web", "TOKEN", value, rule)
        versions.append((await vault.open_for(new_task(environment=WITH_TOKEN))).versions["TOKEN"])
    assert versions[0] == versions[1] != versions[2]


async def test_only_named_secrets_are_delivered(vault: Vault, new_task) -> None:
    await vault.set("web", "TOKEN", "named in the file")
    await vault.set("web", "OTHER", "not named in it")
    assert _revealed(await vault.open_for(new_task(environment=WITH_TOKEN))) == {"TOKEN": "named in the file"}
    assert _revealed(await vault.open_for(new_task())) == {}


async def test_a_value_that_came_with_the_task_goes_before_the_kept_one(vault: Vault, new_task) -> None:
    await vault.set("web", "TOKEN", "kept in the vault")
    sealed = await vault.seal_for_task({"TOKEN": "came with the task", "EXTRA": "named nowhere"})
    secrets = await vault.open_for(new_task(environment=WITH_TOKEN, sealed_secrets=sealed))
    assert _revealed(secrets) == {"TOKEN": "came with the task", "EXTRA": "named nowhere"}
    assert secrets.versions.keys() == secrets.values.keys()


async def test_names_and_removal(vault: Vault) -> None:
    for name in ("B", "A"):
        await vault.set("web", name, "long enough")
    assert [kept.name for kept in await vault.list("web")] == ["A", "B"]
    await vault.remove("web", "A")
    assert [kept.name for kept in await vault.list("web")] == ["B"]
    with pytest.raises(NotFoundError):
        await vault.remove("web", "A")


async def test_a_kept_secret_has_a_new_version_with_each_value(vault: Vault, new_task) -> None:
    versions = []
    for value in ("first value", "second value", "first value"):
        await vault.set("web", "TOKEN", value)
        versions.append((await vault.open_for(new_task(environment=WITH_TOKEN))).versions["TOKEN"])
    await vault.remove("web", "TOKEN")
    await vault.set("web", "TOKEN", "first value")
    again = await vault.open_for(new_task(environment=WITH_TOKEN))
    assert len({*versions, again.versions["TOKEN"]}) == 4
    assert (await vault.open_for(new_task(environment=WITH_TOKEN))).versions == again.versions


async def test_a_value_that_comes_again_with_another_task_has_its_former_version(vault: Vault, new_task) -> None:
    async def version(name: str, value: str) -> str:
        sealed = await vault.seal_for_task({name: value})
        return (await vault.open_for(new_task(sealed_secrets=sealed))).versions[name]

    assert await version("TOKEN", "the same") == await version("TOKEN", "the same")
    assert await version("TOKEN", "the same") != await version("TOKEN", "another")
    assert await version("TOKEN", "the same") != await version("OTHER", "the same")


async def test_the_redactor_masks_what_was_delivered(vault: Vault, new_task) -> None:
    await vault.set("web", "TOKEN", "long enough")
    redactor = vault.redactor(await vault.open_for(new_task(environment=WITH_TOKEN)))
    assert redactor.feed(b"it is long enough.") + redactor.flush() == b"it is [secret TOKEN]."


async def test_the_redactor_masks_what_only_the_proxy_has(vault: Vault, new_task) -> None:
    await vault.set("web", "TOKEN", "long enough", RULE)
    redactor = vault.redactor(await vault.open_for(new_task(environment=WITH_TOKEN)))
    assert redactor.feed(b"it is long enough.") + redactor.flush() == b"it is [secret TOKEN]."


async def test_after_a_new_master_key_everything_opens(vault: Vault, new_task) -> None:
    await vault.set("web", "TOKEN", "kept in the vault")
    task = new_task(environment=WITH_TOKEN, sealed_secrets=await vault.seal_for_task({"EXTRA": "came along"}))
    assert await vault.rotate_key() >= 1
    assert _revealed(await vault.open_for(task)) == {"TOKEN": "kept in the vault", "EXTRA": "came along"}


async def test_a_signature_is_of_these_bytes_by_the_one_key(vault: Vault) -> None:
    public, signature = await vault.public_key(), await vault.sign(b"a message")
    key = load_pem_public_key(public.encode())
    assert isinstance(key, Ed25519PublicKey)
    key.verify(signature.value, b"a message")
    with pytest.raises(InvalidSignature):
        key.verify(signature.value, b"another message")
    assert signature.key_id == key_id_of(public) == (await vault.sign(b"another")).key_id
    await vault.rotate_key()
    assert await vault.public_key() == public, "the key of records is another one than that of secrets"
