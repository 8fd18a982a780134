"""The tables of who is told of tasks, and of what is to be told, which is queued with the end of each turn."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, literal, select, update

from cloister.model.notification import DueNotice, Occasion, Receiver, ReceiverId, ReceiverKind
from cloister.model.task import TaskId
from cloister.protocols import ReceiverStore
from cloister.stores.database import Database
from cloister.stores.schema import NOTICES, RECEIVERS

_NOTICE, _RECEIVER = NOTICES.c, RECEIVERS.c
_QUEUED = ("receiver", "task", "turn", "created_at", "tries", "next_at")


class SqlReceiverStore:
    """`ReceiverStore` over the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, receiver: Receiver) -> ReceiverId | None:
        """Keep, synced, in place of another of the same address."""
        same = _RECEIVER.digest == receiver.digest

        def replace(connection: Connection) -> str | None:
            former = connection.scalar(select(_RECEIVER.id).where(same))
            connection.execute(delete(RECEIVERS).where(same))
            connection.execute(insert(RECEIVERS), _receiver_to_row(receiver))
            return former

        former = await self._database.transact(replace, synced=True)
        return None if former is None else ReceiverId(former)

    async def list(self, holder: str | None = None) -> Sequence[Receiver]:
        """Oldest first."""
        query = select(RECEIVERS).order_by(_RECEIVER.created_at, _RECEIVER.id)
        if holder is not None:
            query = query.where(_RECEIVER.holder == holder)
        return [_row_to_receiver(row) for row in await self._database.all(query)]

    async def change(self, receiver: Receiver) -> None:
        """Replace, synced."""
        change = update(RECEIVERS).where(_RECEIVER.id == receiver.id).values(_receiver_to_row(receiver))
        await self._database.execute(change, synced=True)

    async def remove(self, receiver: ReceiverId) -> None:
        """Forget with what is to be told to it, synced."""
        await self._database.execute(delete(RECEIVERS).where(_RECEIVER.id == receiver), synced=True)

    async def due(self, now: datetime, *, limit: int) -> Sequence[DueNotice]:
        """By an index of when each is due."""
        query = (
            select(NOTICES, *(column.label(f"of_{column.name}") for column in _RECEIVER))
            .join(RECEIVERS, _RECEIVER.id == _NOTICE.receiver)
            .where(_NOTICE.next_at <= now)
            .order_by(_NOTICE.next_at, _NOTICE.id)
            .limit(limit)
        )
        return [_row_to_notice(row) for row in await self._database.all(query)]

    async def claim(self, notice: DueNotice, until: datetime) -> bool:
        """Count a trial, and let nobody else try it before `until`."""
        same = (_NOTICE.id == notice.id, _NOTICE.next_at == notice.next_at)
        claim = update(NOTICES).where(*same).values(next_at=until, tries=_NOTICE.tries + 1)
        return await self._database.execute(claim) == 1

    async def put_off(self, notice: DueNotice, next_at: datetime | None, *, at: datetime, error: str) -> None:
        """Note what came of a trial."""
        note: dict[str, object] = {"error": error} if error else {"error": "", "sent_at": at}
        same = _NOTICE.id == notice.id
        over = delete(NOTICES).where(same) if next_at is None else update(NOTICES).where(same).values(next_at=next_at)
        await self._database.execute(over, update(RECEIVERS).where(_RECEIVER.id == notice.receiver.id).values(note))

    async def drop(self, notice: DueNotice) -> None:
        """Forget."""
        await self._database.execute(delete(NOTICES).where(_NOTICE.id == notice.id))


def queue_notices(connection: Connection, task: TaskId, turn: int, at: datetime) -> None:
    """Queue word of a turn that is over for every receiver; whom it concerns is decided when it is sent."""
    each = select(
        _RECEIVER.id,
        literal(task),
        literal(turn),
        literal(at, _NOTICE.created_at.type),
        literal(0),
        literal(at, _NOTICE.next_at.type),
    )
    connection.execute(insert(NOTICES).from_select(_QUEUED, each))


def _receiver_to_row(receiver: Receiver) -> dict[str, object]:
    row = {column.name: getattr(receiver, column.name) for column in _RECEIVER}
    return row | {"occasions": [str(each) for each in receiver.occasions], "kind": str(receiver.kind)}


def _row_to_receiver(row: Row[Any]) -> Receiver:
    return _values_to_receiver({column.name: getattr(row, column.name) for column in _RECEIVER})


def _values_to_receiver(values: dict[str, Any]) -> Receiver:
    occasions = tuple(Occasion(each) for each in values["occasions"])
    kind, id = ReceiverKind(values["kind"]), ReceiverId(values["id"])
    return Receiver(**{**values, "id": id, "kind": kind, "occasions": occasions})


def _row_to_notice(row: Row[Any]) -> DueNotice:
    return DueNotice(
        id=row.id,
        receiver=_values_to_receiver({column.name: getattr(row, f"of_{column.name}") for column in _RECEIVER}),
        task=TaskId(row.task),
        turn=row.turn,
        created_at=row.created_at,
        tries=row.tries,
        next_at=row.next_at,
    )


_: type[ReceiverStore] = SqlReceiverStore
