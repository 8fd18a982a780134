"""What every `Vault` promises."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from cloister.errors import NotFoundError, UsageError
from cloister.model.environment import Environment
from cloister.model.secret import DeliveredSecrets, SecretMode, SecretUse
from cloister.protocols import Vault
from cloister.stores.database import Database
from cloister.stores.secrets import SqlSecretStore
from cloister.vault.fake import FakeVault
from cloister.vault.keys import KeyFile
from cloister.vault.vault import SealedVault

WITH_TOKEN = Environment(name="web", secrets=(SecretUse(name="TOKEN"),))


@pytest.fixture(params=["sealed", "fake"])
def vault(request: pytest.FixtureRequest, database: Database, tmp_path: Path) -> Vault:
    if request.param == "fake":
        return FakeVault()
    return SealedVault(SqlSecretStore(database), KeyFile(tmp_path / "keys" / "master.key"))


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
    assert await vault.names("web") == []


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
    assert await vault.names("web") == []


@pytest.mark.parametrize("value", ["sixsix", "x" * 64 * 1024, "two\nlines", "ünïcödé 🔑"])
async def test_a_value_that_one_can_have_is_delivered(vault: Vault, new_task, value: str) -> None:
    await vault.set("web", "TOKEN", value)
    assert _revealed(await vault.open_for(new_task(environment=WITH_TOKEN))) == {"TOKEN": value}


async def test_a_secret_without_a_value_names_the_command_that_gives_it_one(vault: Vault, new_task) -> None:
    await vault.set("another", "TOKEN", "of another environment")
    with pytest.raises(NotFoundError, match="TOKEN") as refusal:
        await vault.open_for(new_task(environment=WITH_TOKEN))
    assert "cloister secret set web TOKEN" in str(refusal.value.hint)


async def test_a_brokered_secret_is_never_delivered(vault: Vault, new_task) -> None:
    brokered = SecretUse(name="TOKEN", mode=SecretMode.BROKERED, hosts=("api.github.com",))
    task = new_task(environment=Environment(name="web", secrets=(brokered,)))
    await vault.set("web", "TOKEN", "long enough")
    with pytest.raises(UsageError, match="TOKEN"):
        await vault.open_for(task)
    sealed = await vault.seal_for_task({"TOKEN": "long enough"})
    with pytest.raises(UsageError, match="TOKEN"):
        await vault.open_for(new_task(environment=task.environment, sealed_secrets=sealed))


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
    assert await vault.names("web") == ["A", "B"]
    await vault.remove("web", "A")
    assert await vault.names("web") == ["B"]
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
