"""Requests that are sent again: of those with the same Idempotency-Key, one is carried out.

https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header, Request, Response

from cloister.api.front import FrontDoor
from cloister.api.wire import IDEMPOTENCY_KEY
from cloister.errors import UnderWayError, UsageError
from cloister.model.request_key import KeptRequest, RequestKey, make_request_key

REPLAYED = "Idempotent-Replayed"
"""Header of an answer that was given before."""

_KeyHeader = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        pattern=r"^[!-~]+$",
        description="A name for this request, such as a UUID: sent again within 24 hours, it is answered as the first "
        "time, and not carried out again.",
    ),
]


@dataclass(frozen=True, slots=True)
class Once:
    """What is known of a request by its key."""

    key: RequestKey | None = None
    """None when it was sent without one."""
    kept: KeptRequest | None = None
    """What the first request of that key made, when this is not the first."""


async def _once_of(
    request: Request, response: Response, intake: FrontDoor, idempotency_key: _KeyHeader = None
) -> AsyncIterator[Once]:
    """Let one request of a key in at a time. UsageError when another was sent with it."""
    if idempotency_key is None:
        yield Once()
        return
    asked = f"{request.method} {request.url.path}\n".encode() + await request.body()
    key = make_request_key(request.state.caller.by, idempotency_key, asked, intake.now())
    under_way: set[str] = request.app.state.under_way
    if key.digest in under_way:
        raise UnderWayError(
            f"the first request of this {IDEMPOTENCY_KEY} is being carried out", hint="ask again in a moment"
        )
    under_way.add(key.digest)
    try:
        kept = await intake.store.find_request(key.digest, key.at)
        if kept is not None:
            if kept.fingerprint != key.fingerprint:
                raise UsageError(
                    f"this {IDEMPOTENCY_KEY} was used for another request", hint="use a new one for each request"
                )
            response.headers[REPLAYED] = "true"
        yield Once(key, kept)
    finally:
        under_way.discard(key.digest)


AtMostOnce = Annotated[Once, Depends(_once_of)]
