"""The vault over a real database."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import pytest

from cloister.errors import NotFoundError, UsageError, VaultError
from cloister.model.environment import Environment
from cloister.model.secret import DeliveredSecrets, SecretMode, SecretUse
from cloister.stores.attempts import SqlLedger
from cloister.stores.database import Database
from cloister.stores.secrets import SqlSecretStore
from cloister.stores.tasks import SqlTaskStore
from cloister.vault.keys import KeyFile
from cloister.vault.vault import SealedVault

WITH_TOKEN = Environment(name="web", secrets=(SecretUse(name="TOKEN"),))


@pytest.fixture
def vault(database: Database, tmp_path: Path) -> SealedVault:
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
async def test_a_name_that_no_secret_can_have_is_refused(vault: SealedVault, name: str) -> None:
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
async def test_a_value_that_no_secret_can_have_is_refused_without_being_shown(vault: SealedVault, value: str) -> None:
    for attempt in (vault.set("web", "TOKEN", value), vault.seal_for_task({"TOKEN": value})):
        with pytest.raises(UsageError) as refusal:
            await attempt
        assert not value.strip() or value.strip() not in f"{refusal.value}{refusal.value.hint}{refusal.value.__cause__}"
    assert await vault.names("web") == []


@pytest.mark.parametrize("value", ["sixsix", "x" * 64 * 1024, "two\nlines", "ünïcödé 🔑"])
async def test_a_value_that_one_can_have_is_delivered(vault: SealedVault, new_task, value: str) -> None:
    await vault.set("web", "TOKEN", value)
    assert _revealed(await vault.open_for(new_task(environment=WITH_TOKEN))) == {"TOKEN": value}


async def test_a_secret_without_a_value_names_the_command_that_gives_it_one(vault: SealedVault, new_task) -> None:
    await vault.set("another", "TOKEN", "of another environment")
    with pytest.raises(NotFoundError, match="TOKEN") as refusal:
        await vault.open_for(new_task(environment=WITH_TOKEN))
    assert "cloister secret set web TOKEN" in str(refusal.value.hint)


async def test_a_brokered_secret_is_never_delivered(vault: SealedVault, new_task) -> None:
    brokered = SecretUse(name="TOKEN", mode=SecretMode.BROKERED, hosts=("api.github.com",))
    task = new_task(environment=Environment(name="web", secrets=(brokered,)))
    await vault.set("web", "TOKEN", "long enough")
    with pytest.raises(UsageError, match="brokered"):
        await vault.open_for(task)
    sealed = await vault.seal_for_task({"TOKEN": "long enough"})
    with pytest.raises(UsageError, match="brokered"):
        await vault.open_for(new_task(environment=task.environment, sealed_secrets=sealed))


async def test_only_named_secrets_are_delivered(vault: SealedVault, new_task) -> None:
    await vault.set("web", "TOKEN", "named in the file")
    await vault.set("web", "OTHER", "not named in it")
    assert _revealed(await vault.open_for(new_task(environment=WITH_TOKEN))) == {"TOKEN": "named in the file"}
    assert _revealed(await vault.open_for(new_task())) == {}


async def test_a_value_that_came_with_the_task_goes_before_the_kept_one(vault: SealedVault, new_task) -> None:
    await vault.set("web", "TOKEN", "kept in the vault")
    sealed = await vault.seal_for_task({"TOKEN": "came with the task", "EXTRA": "named nowhere"})
    secrets = await vault.open_for(new_task(environment=WITH_TOKEN, sealed_secrets=sealed))
    assert _revealed(secrets) == {"TOKEN": "came with the task", "EXTRA": "named nowhere"}
    assert secrets.versions.keys() == secrets.values.keys()


async def test_names_and_removal(vault: SealedVault) -> None:
    for name in ("B", "A"):
        await vault.set("web", name, "long enough")
    assert await vault.names("web") == ["A", "B"]
    await vault.remove("web", "A")
    assert await vault.names("web") == ["B"]
    with pytest.raises(NotFoundError):
        await vault.remove("web", "A")


async def test_a_kept_secret_has_a_new_version_with_each_value(vault: SealedVault, new_task) -> None:
    versions = []
    for value in ("first value", "second value", "first value"):
        await vault.set("web", "TOKEN", value)
        versions.append((await vault.open_for(new_task(environment=WITH_TOKEN))).versions["TOKEN"])
    await vault.remove("web", "TOKEN")
    await vault.set("web", "TOKEN", "first value")
    again = await vault.open_for(new_task(environment=WITH_TOKEN))
    assert len({*versions, again.versions["TOKEN"]}) == 4
    assert (await vault.open_for(new_task(environment=WITH_TOKEN))).versions == again.versions


async def test_a_value_that_comes_again_with_another_task_has_its_former_version(vault: SealedVault, new_task) -> None:
    async def version(name: str, value: str) -> str:
        sealed = await vault.seal_for_task({name: value})
        return (await vault.open_for(new_task(sealed_secrets=sealed))).versions[name]

    assert await version("TOKEN", "the same") == await version("TOKEN", "the same")
    assert await version("TOKEN", "the same") != await version("TOKEN", "another")
    assert await version("TOKEN", "the same") != await version("OTHER", "the same")


async def test_sealed_values_that_are_swapped_between_rows_do_not_open(vault, database, new_task) -> None:
    rows = SqlSecretStore(database)
    await vault.set("web", "TOKEN", "of the web environment")
    await vault.set("api", "TOKEN", "of the api environment")
    stolen = await rows.find("api", "TOKEN")
    mine = await rows.find("web", "TOKEN")
    assert mine is not None
    assert stolen is not None
    for forged in (
        dataclasses.replace(mine, sealed=stolen.sealed),
        dataclasses.replace(stolen, environment="web"),
        dataclasses.replace(mine, version=stolen.version),
        dataclasses.replace(mine, sealed=await vault.seal_for_task({"TOKEN": "of a task"})),
    ):
        await rows.put(forged)
        with pytest.raises(VaultError):
            await vault.open_for(new_task(environment=WITH_TOKEN))


async def test_after_a_new_master_key_everything_opens_and_the_old_one_opens_nothing(
    vault: SealedVault, database: Database, tmp_path: Path, new_task
) -> None:
    await vault.set("web", "TOKEN", "kept in the vault")
    task = new_task(environment=WITH_TOKEN, sealed_secrets=await vault.seal_for_task({"EXTRA": "came along"}))
    await SqlLedger(database).accept(task, [])
    before = await vault.open_for(task)
    old_key = tmp_path / "old.key"
    old_key.touch(mode=0o600)
    old_key.write_bytes((tmp_path / "keys" / "master.key").read_bytes())

    await vault.rotate_key()

    task = (await SqlTaskStore(database).get("t1")).task
    after = await vault.open_for(task)
    assert _revealed(after) == _revealed(before) == {"TOKEN": "kept in the vault", "EXTRA": "came along"}
    assert after.versions["TOKEN"] == before.versions["TOKEN"]
    with pytest.raises(VaultError, match="not here"):
        await SealedVault(SqlSecretStore(database), KeyFile(old_key)).open_for(task)


async def test_what_was_sealed_while_the_key_was_replaced_still_opens(vault: SealedVault, new_task) -> None:
    sealed = await vault.seal_for_task({"TOKEN": "sealed before, kept after"})
    await vault.rotate_key()
    assert _revealed(await vault.open_for(new_task(sealed_secrets=sealed))) == {"TOKEN": "sealed before, kept after"}


async def test_a_replacement_that_meets_a_damaged_value_changes_nothing(vault, database, tmp_path, new_task) -> None:
    await vault.set("web", "TOKEN", "kept in the vault")
    rows = SqlSecretStore(database)
    kept = await rows.find("web", "TOKEN")
    assert kept is not None
    await rows.put(dataclasses.replace(kept, name="ZZZ", sealed=b"damaged"))
    key = (tmp_path / "keys" / "master.key").read_bytes()
    with pytest.raises(VaultError):
        await vault.rotate_key()
    assert await rows.find("web", "TOKEN") == kept
    assert (tmp_path / "keys" / "master.key").read_bytes() == key


async def test_the_redactor_masks_what_was_delivered(vault: SealedVault, new_task) -> None:
    await vault.set("web", "TOKEN", "long enough")
    redactor = vault.redactor(await vault.open_for(new_task(environment=WITH_TOKEN)))
    assert redactor.feed(b"it is long enough.") + redactor.flush() == b"it is [secret TOKEN]."
