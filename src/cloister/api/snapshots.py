"""Snapshots: the disks that setup leaves."""

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from sse_starlette import EventSourceResponse

from cloister.api.body import Body
from cloister.api.caller import Admin, Viewer
from cloister.api.front import FrontDoor, check_registry
from cloister.api.progress import TOLD, progress_response
from cloister.model.image import BuildProgress
from cloister.model.snapshot import CheckedDisk, SnapshotRecord
from cloister.model.snapshot_export import Compression

router = APIRouter(prefix="/snapshots", tags=["snapshots"])


class Removed(BaseModel):
    """The snapshot that was forgotten."""

    key: str


class ExportBody(Body):
    """Where a snapshot shall be pushed to."""

    reference: str = Field(examples=["registry.example/team/web:ready"])
    compression: Compression = "gzip"
    """Every program reads gzip; zstd is faster, and its layers are smaller."""


class Exported(BaseModel):
    """The image that was pushed."""

    digest: str
    """In the registry."""


class Reset(BaseModel):
    """How many snapshots were forgotten."""

    snapshots: int


@router.get("")
async def find(intake: FrontDoor, _: Viewer) -> list[SnapshotRecord]:
    """Return all kept snapshots, newest first."""
    return list(await intake.snapshots.list())


@router.delete("")
async def reset(environment: Annotated[str, Query()], intake: FrontDoor, _: Admin) -> Reset:
    """Forget every snapshot of an environment: its next task runs setup."""
    return Reset(snapshots=await intake.snapshots.reset(environment))


@router.delete("/{key}")
async def remove(key: str, intake: FrontDoor, _: Admin) -> Removed:
    """Forget a snapshot, by its key or a unique beginning. 409 while it is in use."""
    return Removed(key=await intake.snapshots.remove(key))


@router.post("/{key}/export", response_class=EventSourceResponse, responses=TOLD)
async def export(key: str, body: ExportBody, request: Request, intake: FrontDoor, caller: Admin) -> EventSourceResponse:
    """Push a snapshot to a registry, as an ordinary image, and tell how far it is. Its result names the digest."""
    await check_registry(body.reference, intake, caller)
    found = await intake.snapshots.get_exportable(key)

    async def work(report: Callable[[BuildProgress], None]) -> Exported:
        return Exported(
            digest=await intake.snapshots.export(found.key, body.reference, report, compression=body.compression)
        )

    return progress_response(request, work, Exported)


@router.get("/{key}/check")
async def check(key: str, intake: FrontDoor, _: Viewer) -> list[CheckedDisk]:
    """Read a snapshot's disk again, and those below it, topmost first."""
    return list(await intake.snapshots.check(key))
