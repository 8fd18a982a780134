"""The table of sealed secrets. Only the vault can open what is in it."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection, Row, delete, exists, insert, or_, select, update

from cloister.model.secret import SealedSecret
from cloister.model.task import TaskState
from cloister.stores.database import Database
from cloister.stores.schema import SECRETS, TASKS


class SqlSecretStore:
    """Sealed secrets by environment and name."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, secret: SealedSecret) -> None:
        """Keep, in place of what was kept under that name. Synced."""
        former = delete(SECRETS).where(*_is(secret.environment, secret.name))
        await self._database.execute(former, insert(SECRETS).values(dataclasses.asdict(secret)), synced=True)

    async def find(self, environment: str, name: str) -> SealedSecret | None:
        """The secret of that name."""
        row = await self._database.first(select(SECRETS).where(*_is(environment, name)))
        return None if row is None else _row_to_secret(row)

    async def list(self, environment: str) -> Sequence[SealedSecret]:
        """What is kept for an environment, by name."""
        query = select(SECRETS).where(SECRETS.c.environment == environment).order_by(SECRETS.c.name)
        return [_row_to_secret(row) for row in await self._database.all(query)]

    async def remove(self, environment: str, name: str) -> bool:
        """Forget, synced. False when nothing was kept."""
        return await self._database.execute(delete(SECRETS).where(*_is(environment, name)), synced=True) > 0

    async def reseal_all(self, reseal: Callable[[bytes], bytes]) -> int:
        """Put every sealed value, those of tasks included, through `reseal`: all of them, or on an error none."""

        def change(connection: Connection) -> int:
            kept = [_row_to_secret(row) for row in connection.execute(select(SECRETS))]
            for secret in kept:
                changed = update(SECRETS).where(*_is(secret.environment, secret.name))
                connection.execute(changed.values(sealed=reseal(secret.sealed)))
            return len(kept) + _reseal_tasks(connection, reseal)

        return await self._database.transact(change, synced=True)

    async def any_needed(self) -> bool:
        """Whether a sealed value is kept that somebody may still open: for an environment, or of an unfinished task."""
        waiting = exists().where(TASKS.c.sealed_secrets.is_not(None), TASKS.c.state != TaskState.FINISHED)
        needed = select(or_(exists(select(SECRETS.c.name)), waiting))
        return await self._database.query(lambda connection: bool(connection.scalar(needed)))


def _reseal_tasks(connection: Connection, reseal: Callable[[bytes], bytes]) -> int:
    query = select(TASKS.c.id, TASKS.c.sealed_secrets).where(TASKS.c.sealed_secrets.is_not(None))
    tasks = connection.execute(query).all()
    for task in tasks:
        changed = update(TASKS).where(TASKS.c.id == task.id)
        connection.execute(changed.values(sealed_secrets=reseal(task.sealed_secrets)))
    return len(tasks)


def _is(environment: str, name: str) -> tuple[Any, ...]:
    return SECRETS.c.environment == environment, SECRETS.c.name == name


def _row_to_secret(row: Row[Any]) -> SealedSecret:
    return SealedSecret(
        environment=row.environment, name=row.name, version=row.version, rule=row.rule, sealed=row.sealed
    )
