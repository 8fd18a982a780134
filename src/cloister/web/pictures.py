"""Pictures among the artifacts: only those that are what they are called, and of kinds that can run nothing."""

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, Response

from cloister.api.caller import Viewer
from cloister.api.front import FrontDoor
from cloister.errors import NotFoundError
from cloister.model.artifact import Artifact
from cloister.web.chosen import AttemptNumber, TurnNumber
from cloister.web.page import PageRoute

router = APIRouter(
    prefix="/tasks", tags=["tasks"], route_class=PageRoute, include_in_schema=False, default_response_class=HTMLResponse
)

_TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".gif": "image/gif", ".webp": "image/webp"}
"""Never SVG, which is a document: it may hold scripts, and load things from elsewhere."""
_HEADERS = {
    "Content-Disposition": "inline",
    "Content-Security-Policy": "default-src 'none'; sandbox; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}


def is_picture(artifact: Artifact) -> bool:
    """Whether a page tries to show it; what it is really is looked at when it is asked for."""
    return _suffix(artifact.name) in _TYPES and artifact.size_bytes > 0


def type_of(data: bytes) -> str | None:
    """Return what kind of picture these bytes are, by how they begin; None for every other kind.

    >>> type_of(b"<svg xmlns='http://www.w3.org/2000/svg'/>")
    """
    if data.startswith(b"\x89PNG\r\n\x1a\n"):  # ISO/IEC 15948, 5.2
        return "image/png"
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":  # RFC 9649, 2.4
        return "image/webp"
    return None


@router.get("/{task}/picture", response_class=Response)
async def picture(
    task: str, name: str, intake: FrontDoor, _: Viewer, turn: TurnNumber = None, attempt: AttemptNumber = None
) -> Response:
    """Return an artifact that is a picture, to be shown. NotFoundError for everything else."""
    data = await intake.results.artifact(task, name, attempt=attempt, turn=turn)
    found = type_of(data)
    if found is None or found != _TYPES.get(_suffix(name)):
        raise NotFoundError(f"{name!r} is no picture that can be shown", hint="save it, and look at it with care")
    return Response(data, media_type=found, headers=_HEADERS)


def _suffix(name: str) -> str:
    dot = name.rfind(".")
    return name[dot:].lower() if dot >= 0 else ""
