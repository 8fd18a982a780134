"""Bundles: repositories of callers that the server cannot reach."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel

from cloister.api.caller import Member
from cloister.api.front import FrontDoor
from cloister.api.wire import BUNDLE
from cloister.model.bundle import own_bundles

router = APIRouter(prefix="/bundles", tags=["bundles"])

_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "As `git bundle create FILE --branches --tags HEAD` writes it; at most 2 GiB.",
        "content": {BUNDLE: {"schema": {"type": "string", "format": "binary"}}},
    }
}


class TakenBundle(BaseModel):
    """A repository that came as a bundle."""

    repository: str
    """Its address, for requests of the same caller."""


@router.put("/{name}", openapi_extra=_BODY)
async def put(
    name: str,
    request: Request,
    intake: FrontDoor,
    caller: Member,
    head: Annotated[str | None, Query(description="Its default branch; by default its HEAD is on none.")] = None,
) -> TakenBundle:
    """Keep a repository under a name of the caller's; what was there under that name is what this one says.

    Only objects, branches and tags are taken from it: no settings and no hooks are in a bundle.
    """
    address = await intake.repositories.take_bundle(own_bundles(caller.by) + name, request.stream(), head=head)
    return TakenBundle(repository=address)
