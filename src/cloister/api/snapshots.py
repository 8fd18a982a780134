"""Snapshots: the disks that setup leaves."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel

from cloister.api.caller import Admin, Viewer
from cloister.api.front import FrontDoor
from cloister.model.snapshot import CheckedDisk, SnapshotRecord

router = APIRouter(prefix="/snapshots", tags=["snapshots"])


class Removed(BaseModel):
    """The snapshot that was forgotten."""

    key: str


class Reset(BaseModel):
    """How many snapshots were forgotten."""

    snapshots: int


@router.get("")
async def find(intake: FrontDoor, _: Viewer) -> list[SnapshotRecord]:
    """Return all kept snapshots, newest first."""
    return list(await intake.snapshots())


@router.delete("")
async def reset(environment: Annotated[str, Query()], intake: FrontDoor, _: Admin) -> Reset:
    """Forget every snapshot of an environment: its next task runs setup."""
    return Reset(snapshots=await intake.reset_cache(environment))


@router.delete("/{key}")
async def remove(key: str, intake: FrontDoor, _: Admin) -> Removed:
    """Forget a snapshot, by its key or a unique beginning. 409 while it is in use."""
    return Removed(key=await intake.remove_snapshot(key))


@router.get("/{key}/check")
async def check(key: str, intake: FrontDoor, _: Viewer) -> list[CheckedDisk]:
    """Read a snapshot's disk again, and those below it, topmost first."""
    return list(await intake.check_snapshot(key))
