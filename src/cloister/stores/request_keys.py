"""The table of request keys: which request of a caller made which turn."""

from datetime import datetime

from sqlalchemy import Connection, delete, insert, select
from sqlalchemy.exc import IntegrityError

from cloister.errors import UnderWayError
from cloister.model.request_key import REMEMBERED, KeptRequest, RequestKey
from cloister.model.task import TaskId
from cloister.stores.schema import REQUEST_KEYS


def keep_request(connection: Connection, key: RequestKey | None, task: TaskId, turn: int) -> None:
    """Keep a key, if there is one, with the turn that its request makes. UnderWayError when it is kept already."""
    if key is None:
        return
    connection.execute(delete(REQUEST_KEYS).where(REQUEST_KEYS.c.at <= key.at - REMEMBERED))
    row = {"digest": key.digest, "fingerprint": key.fingerprint, "at": key.at, "task": task, "turn": turn}
    try:
        connection.execute(insert(REQUEST_KEYS), row)
    except IntegrityError as error:
        raise UnderWayError("the request of this Idempotency-Key was carried out this very moment") from error


def read_request(connection: Connection, digest: str, now: datetime) -> KeptRequest | None:
    """Return what is kept of a key that still stands for a request."""
    query = select(REQUEST_KEYS).where(REQUEST_KEYS.c.digest == digest, REQUEST_KEYS.c.at > now - REMEMBERED)
    row = connection.execute(query).first()
    return None if row is None else KeptRequest(fingerprint=row.fingerprint, task=TaskId(row.task), turn=row.turn)
