"""Requests that may be sent again without being carried out twice (Idempotency-Key)."""

import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta

from cloister.model.task import TaskId

REMEMBERED = timedelta(hours=24)
"""How long a key stands for its first request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestKey:
    """What a caller calls one request, so that another of that name is known to be the same.

    Neither what the caller sent as the key nor the request can be told from it.
    """

    digest: str
    """Of the key and whose it is."""
    fingerprint: str
    """Of the request, secrets included."""
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptRequest:
    """A request that was carried out, and the turn that it made."""

    fingerprint: str
    task: TaskId
    turn: int


def make_request_key(owner: str, text: str, request: bytes, at: datetime) -> RequestKey:
    """Return the key `text` of that caller, for a request."""
    name = hashlib.sha256(f"{owner}\0{text}".encode()).hexdigest()
    return RequestKey(digest=name, fingerprint=hmac.digest(text.encode(), request, "sha256").hex(), at=at)
