"""What the sealed vault promises beyond the contract of vaults."""

import dataclasses
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

import anyio
import pytest

from cloister.errors import ConflictError, VaultError
from cloister.model.broker import rule_to_text
from cloister.model.environment import Environment
from cloister.model.secret import BrokerRule, DeliveredSecrets, SealedSecret, SecretUse
from cloister.model.task import Task
from cloister.stores.attempts import SqlLedger
from cloister.stores.database import Database
from cloister.stores.secrets import SqlSecretStore
from cloister.stores.tasks import SqlTaskStore
from cloister.vault.keys import KeyFile
from cloister.vault.sealing import rewrap
from cloister.vault.signing import SigningKeyFile
from cloister.vault.vault import SealedVault

from .rotate import POINTS

WITH_TOKEN = Environment(name="web", secrets=(SecretUse(name="TOKEN"),))


@pytest.fixture
def vault(database: Database, tmp_path: Path) -> SealedVault:
    return SealedVault(
        SqlSecretStore(database),
        KeyFile(tmp_path / "keys" / "master.key"),
        SigningKeyFile(tmp_path / "keys" / "record.key"),
    )


def _revealed(secrets: DeliveredSecrets) -> Mapping[str, str]:
    return {name: value.reveal() for name, value in secrets.values.items()}


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


async def test_a_rule_that_was_changed_taken_away_or_put_to_another_value_opens_nothing(vault, database, new_task):
    rows = SqlSecretStore(database)
    rule = BrokerRule(hosts=("api.github.com",), header="Authorization")
    await vault.set("web", "TOKEN", "only for the proxy", rule)
    await vault.set("web", "OTHER", "for setup scripts")
    kept, other = await rows.find("web", "TOKEN"), await rows.find("web", "OTHER")
    assert kept is not None and other is not None and kept.rule is not None
    assert len((await vault.open_for(new_task(environment=WITH_TOKEN))).brokered) == 1
    for forged in (
        dataclasses.replace(kept, rule=None),
        dataclasses.replace(kept, rule=kept.rule.replace("github.com", "evil.example")),
        dataclasses.replace(kept, rule=rule_to_text(dataclasses.replace(rule, hosts=("evil.example",)))),
        dataclasses.replace(other, name="TOKEN", rule=kept.rule),
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
        await SealedVault(
            SqlSecretStore(database), KeyFile(old_key), SigningKeyFile(tmp_path / "keys" / "record.key")
        ).open_for(task)


async def test_what_was_sealed_while_the_key_was_replaced_still_opens(vault: SealedVault, new_task) -> None:
    sealed = await vault.seal_for_task({"TOKEN": "sealed before, kept after"})
    await vault.rotate_key()
    assert _revealed(await vault.open_for(new_task(sealed_secrets=sealed))) == {"TOKEN": "sealed before, kept after"}


async def test_a_crash_between_the_database_and_the_key_file_loses_nothing(vault, database, tmp_path, new_task) -> None:
    keys = KeyFile(tmp_path / "keys" / "master.key")
    await vault.set("web", "TOKEN", "kept in the vault")
    with pytest.raises(KeyboardInterrupt), keys.replacing() as new:
        keyring = keys.load()
        await SqlSecretStore(database).reseal_all(lambda sealed: rewrap(sealed, keyring, new))
        raise KeyboardInterrupt
    task = new_task(environment=WITH_TOKEN)
    assert _revealed(await vault.open_for(task)) == {"TOKEN": "kept in the vault"}
    await vault.rotate_key()
    assert _revealed(await vault.open_for(task)) == {"TOKEN": "kept in the vault"}
    assert not (tmp_path / "keys" / "master.key.next").exists()


@pytest.mark.parametrize("point", POINTS)
async def test_a_kill_at_any_moment_loses_nothing(vault, database, tmp_path, new_task, monkeypatch, point) -> None:
    await vault.set("web", "TOKEN", "kept in the vault")
    await vault.set("web", "OTHER", "kept for others")
    waiting = new_task(environment=WITH_TOKEN, sealed_secrets=await vault.seal_for_task({"EXTRA": "came along"}))
    await SqlLedger(database).accept(waiting, [])
    command = [sys.executable, str(Path(__file__).with_name("rotate.py")), point, str(tmp_path)]
    killed = await anyio.run_process(command, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    expected = {"TOKEN": "kept in the vault", "EXTRA": "came along"}

    async def opened(task: Task) -> Mapping[str, str]:
        return _revealed(await vault.open_for(task))

    assert await opened((await SqlTaskStore(database).get("t1")).task) == expected
    assert await opened(waiting) == expected, "a worker may have read it before"
    late = new_task(sealed_secrets=await vault.seal_for_task({"LATE": "sealed after"}))
    monkeypatch.setattr("cloister.vault.vault.SETTLING_SECONDS", 0.0)
    assert await vault.rotate_key() == 3
    assert await opened((await SqlTaskStore(database).get("t1")).task) == expected
    assert await opened(late) == {"LATE": "sealed after"}
    assert {path.name for path in (tmp_path / "keys").iterdir()} <= {
        "master.key", "master.key.previous", "master.key.lock"
    }  # fmt: skip


async def test_a_key_that_was_replaced_a_moment_ago_is_not_replaced_again(vault, tmp_path, new_task) -> None:
    sealed = await vault.seal_for_task({"TOKEN": "not kept anywhere yet"})
    await vault.rotate_key()
    key = (tmp_path / "keys" / "master.key").read_bytes()
    with pytest.raises(ConflictError, match="a moment ago") as refusal:
        await vault.rotate_key()
    assert refusal.value.hint.startswith("wait ")
    assert (tmp_path / "keys" / "master.key").read_bytes() == key
    assert _revealed(await vault.open_for(new_task(sealed_secrets=sealed))) == {"TOKEN": "not kept anywhere yet"}


async def test_a_key_that_is_replaced_while_secrets_are_read_opens_them(vault, database, tmp_path, new_task) -> None:
    class Replaced(SqlSecretStore):
        async def find(self, environment: str, name: str) -> SealedSecret | None:
            await vault.rotate_key()
            return await super().find(environment, name)

    await vault.set("web", "TOKEN", "kept in the vault")
    keys = KeyFile(tmp_path / "keys" / "master.key"), SigningKeyFile(tmp_path / "keys" / "record.key")
    opened = await SealedVault(Replaced(database), *keys).open_for(new_task(environment=WITH_TOKEN))
    assert _revealed(opened) == {"TOKEN": "kept in the vault"}


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


@pytest.mark.parametrize("call", ["set", "seal_for_task", "open_for", "rotate_key"])
async def test_a_lost_key_is_told_and_no_other_is_made_while_something_is_sealed_under_it(
    vault, database, tmp_path, new_task, call
) -> None:
    await vault.set("web", "TOKEN", "kept in the vault")
    key = tmp_path / "keys" / "master.key"
    kept = key.rename(tmp_path / "backup.key")
    calls = {
        "set": lambda: vault.set("web", "OTHER", "another value"),
        "seal_for_task": lambda: vault.seal_for_task({"EXTRA": "came along"}),
        "open_for": lambda: vault.open_for(new_task(environment=WITH_TOKEN)),
        "rotate_key": vault.rotate_key,
    }
    with pytest.raises(VaultError, match=r"master\.key is missing") as refusal:
        await calls[call]()
    assert "backup" in (refusal.value.hint or "")
    assert list(key.parent.iterdir()) == []
    kept.rename(key)
    assert _revealed(await vault.open_for(new_task(environment=WITH_TOKEN))) == {"TOKEN": "kept in the vault"}


async def test_a_lost_key_is_told_while_a_task_waits_with_values_sealed_under_it(vault, database, tmp_path, new_task):
    task = new_task(sealed_secrets=await vault.seal_for_task({"EXTRA": "came along"}))
    await SqlLedger(database).accept(task, [])
    (tmp_path / "keys" / "master.key").unlink()
    with pytest.raises(VaultError, match="missing"):
        await vault.open_for(task)


async def test_when_nothing_is_sealed_under_a_lost_key_any_more_a_new_one_is_made(vault, tmp_path, new_task) -> None:
    await vault.set("web", "TOKEN", "kept in the vault")
    (tmp_path / "keys" / "master.key").unlink()
    await vault.remove("web", "TOKEN")
    await vault.set("web", "TOKEN", "set again")
    assert _revealed(await vault.open_for(new_task(environment=WITH_TOKEN))) == {"TOKEN": "set again"}
