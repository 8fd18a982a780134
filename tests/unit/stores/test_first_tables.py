"""A state of the first version, with data that this version wrote, is whole after every step of migration."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

from cloister.backup.state import Keys, State, back_up, restore
from cloister.errors import StoreError
from cloister.model.event import TaskFinished
from cloister.model.task import FollowUp, Outcome, TaskState, Verdict
from cloister.model.token import Role
from cloister.model.webhook import Webhook, WebhookId
from cloister.queues.embedded import EmbeddedQueue
from cloister.stores.attempts import SqlLedger
from cloister.stores.copying import adopt_database, copy_database
from cloister.stores.database import Database
from cloister.stores.migrations import NEWEST
from cloister.stores.schema import METADATA
from cloister.stores.secrets import SqlSecretStore
from cloister.stores.tasks import SqlTaskStore
from cloister.stores.tokens import SqlTokenStore
from cloister.stores.upgrade import revision_of
from cloister.stores.webhooks import SqlWebhookStore
from cloister.tokens import Tokens
from cloister.vault.keys import KeyFile
from cloister.vault.signing import SigningKeyFile
from cloister.vault.vault import SealedVault

pytestmark = pytest.mark.anyio

STATES = Path(__file__).parent / "states"
FIXED, FAILED, TWICE = "1qwf4kx5bgxq", "1qwf4tm2bmh2", "1qwf4yw6veyn"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A state directory of the first version."""
    directory = tmp_path / "old"
    directory.mkdir()
    with closing(sqlite3.connect(directory / "cloister.db")) as connection:
        connection.executescript((STATES / "0001.sql").read_text())
    (directory / "master.key").touch(mode=0o600)
    (directory / "master.key").write_bytes(bytes.fromhex((STATES / "0001.key").read_text()))
    assert revision_of(directory / "cloister.db") == "0001"
    return directory


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    database: Database
    queue: EmbeddedQueue
    store: SqlTaskStore
    vault: SealedVault


@asynccontextmanager
async def opened(directory: Path) -> AsyncIterator[Opened]:
    """What the present version makes of a state directory."""
    async with (
        Database.open(directory / "cloister.db") as database,
        EmbeddedQueue.open(SqlLedger(database), directory / "workers") as queue,
    ):
        keys = KeyFile(directory / "master.key"), SigningKeyFile(directory / "record.key")
        vault = SealedVault(SqlSecretStore(database), *keys)
        yield Opened(database=database, queue=queue, store=SqlTaskStore(database), vault=vault)


async def check_what_was_there(state: Opened) -> None:
    tasks = {status.task.id: status for status in await state.store.list()}
    assert {id: (status.verdict, len(status.attempts)) for id, status in tasks.items()} == {
        FIXED: (Verdict.SUCCEEDED, 1),
        FAILED: (Verdict.FAILED, 1),
        TWICE: (Verdict.SUCCEEDED, 2),
    }
    fixed = await state.store.get(FIXED)
    assert (fixed.task.prompt, fixed.task.repository.address) == ("change it", "/srv/project")
    outcome = fixed.attempts[0].outcome
    assert outcome is not None and outcome.change is not None
    assert outcome.change.diff.endswith(b"@@ -1 +1 @@\n-one\n+two\n")
    for id in tasks:
        log = [event async for event in state.store.events(id)]
        assert [event.seq for event in log] == list(range(1, len(log) + 1))
        assert log[0].event.wire_name == "task_accepted" and isinstance(log[-1].event, TaskFinished)
    assert [secret.name for secret in await state.vault.list("web")] == ["NPM_TOKEN"]
    kept = await state.vault.find("web", "NPM_TOKEN")
    assert kept is not None and kept.reveal() == "npm-0123456789-first"
    given = await state.vault.open_for((await state.store.get(TWICE)).task)
    assert {name: value.reveal() for name, value in given.values.items()} == {"TOK": "given-0123456789"}


async def test_what_the_first_version_kept_is_there(old: Path) -> None:
    for _ in range(2):
        async with opened(old) as state:
            await check_what_was_there(state)
    assert revision_of(old / "cloister.db") == NEWEST


async def test_an_old_state_goes_on_with_everything_new(old: Path) -> None:
    async with opened(old) as state:
        now = datetime.now(UTC)
        hook = Webhook(
            id=WebhookId("w1"), url="http://h.example/", events=("task_finished",), created_at=now, created_by="ann"
        )
        await SqlWebhookStore(state.database).add(hook)
        base = (await state.store.get(FIXED)).attempts[0].attempt
        turn = FollowUp(number=2, prompt="and now", continues=base, attempts=1, accepted_at=now)
        await state.queue.follow_up((await state.store.get(FIXED)).task.id, turn)
        attempt = await state.queue.claim()
        assert attempt is not None and attempt.continues is not None
        assert attempt.continues.diff.endswith(b"+two\n"), "it goes on from what was made then"
        await state.queue.finish(attempt, Outcome(verdict=Verdict.SUCCEEDED))
        assert (await state.store.get(FIXED)).state is TaskState.FINISHED
        (due,) = await SqlWebhookStore(state.database).due(datetime.now(UTC), limit=10)
        assert due.delivery.task == FIXED
        tokens = Tokens(store=SqlTokenStore(state.database), now=lambda: datetime.now(UTC))
        _, text = await tokens.create("ci", Role.VIEWER)
        assert (await tokens.authenticate(text)).name == "ci"


async def test_the_tables_are_those_that_a_new_state_has(old: Path) -> None:
    async with opened(old):
        pass
    engine = create_engine(f"sqlite:///{old / 'cloister.db'}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, METADATA) == []
    engine.dispose()


def _state(directory: Path) -> State:
    return State(
        directory=directory,
        key_files={"master.key": directory / "master.key"},
        copy_database=copy_database,
        upgrade_database=adopt_database,
    )


async def test_a_backup_of_the_first_version_is_restored(old: Path, tmp_path: Path) -> None:
    made = back_up(_state(old), tmp_path / "backup", Keys.CLEAR)
    assert made.manifest.revision == revision_of(old / "cloister.db") == "0001", "a backup changes nothing"
    restore(_state(tmp_path / "new"), tmp_path / "backup")
    assert revision_of(tmp_path / "new" / "cloister.db") == NEWEST
    async with opened(tmp_path / "new") as state:
        await check_what_was_there(state)


async def test_a_backup_of_a_newer_version_is_refused(old: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(old / "cloister.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    back_up(_state(old), tmp_path / "backup", Keys.NONE)
    with pytest.raises(StoreError, match="newer"):
        restore(_state(tmp_path / "new"), tmp_path / "backup")
    assert not (tmp_path / "new").exists()
