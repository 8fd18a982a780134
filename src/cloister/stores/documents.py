"""Tasks and outcomes as JSON and back, and their large byte strings, compressed, beside it."""

import dataclasses
import zlib

import anyio.to_thread
from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from cloister.errors import StoreError, UsageError
from cloister.model.task import Outcome, Task

_TASK = TypeAdapter(Task)
_OUTCOME = TypeAdapter(Outcome)
_FAST = 1


def task_to_document(task: Task) -> str:
    """Return the task without its patch and sealed secrets. UsageError when a text in it is not valid Unicode."""
    try:
        return _TASK.dump_json(task, exclude={"patch", "sealed_secrets"}).decode()
    except (PydanticSerializationError, UnicodeError) as error:
        raise UsageError(f"the request of task {task.id} holds text that is not valid Unicode") from error


def document_to_task(document: str, *, patch: bytes, sealed_secrets: bytes | None) -> Task:
    """Return the task that `task_to_document` wrote, with its byte strings. StoreError when it cannot be read."""
    try:
        task = _TASK.validate_json(document)
    except ValidationError as error:
        raise StoreError(f"a task in the database cannot be read: {error}") from error
    return dataclasses.replace(task, patch=patch, sealed_secrets=sealed_secrets)


def outcome_to_document(outcome: Outcome) -> str:
    """Return the outcome without its diff. StoreError when a text in it is not valid Unicode."""
    try:
        return _OUTCOME.dump_json(_without_diff(outcome)).decode()
    except (PydanticSerializationError, UnicodeError) as error:
        raise StoreError("the outcome of an attempt holds text that is not valid Unicode") from error


def document_to_outcome(document: str, *, diff: bytes) -> Outcome:
    """Return the outcome that `outcome_to_document` wrote, with its diff. StoreError when it cannot be read."""
    try:
        outcome = _OUTCOME.validate_json(document)
    except ValidationError as error:
        raise StoreError(f"an outcome in the database cannot be read: {error}") from error
    if outcome.change is None:
        return outcome
    return dataclasses.replace(outcome, change=dataclasses.replace(outcome.change, diff=diff))


def _without_diff(outcome: Outcome) -> Outcome:
    if outcome.change is None:
        return outcome
    return dataclasses.replace(outcome, change=dataclasses.replace(outcome.change, diff=b""))


async def pack(data: bytes) -> bytes | None:
    """Compress, in a thread because a diff may have tens of megabytes. None for nothing."""
    return await anyio.to_thread.run_sync(zlib.compress, data, _FAST) if data else None


def unpack(data: bytes | None) -> bytes:
    """Return what `pack` was given. Blocks: for transactions, which have a thread."""
    return zlib.decompress(data) if data else b""
