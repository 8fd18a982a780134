"""Scripts, styles and pictures of the pages: files of this package, made by `./dev web`."""

import gzip
from functools import cache
from hashlib import sha256
from importlib.resources import files

from fastapi import APIRouter, Request
from fastapi.responses import Response

from cloister.errors import NotFoundError

_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".png": "image/png"}
_COMPRESSED = (".js", ".css", ".svg")
_NEVER = ("q=0", "q=0.0", "q=0.00", "q=0.000")
_FOR_A_YEAR = "public, max-age=31536000, immutable"

router = APIRouter()


@router.get("/static/{digest}/{name}", response_class=Response)
async def asset(digest: str, name: str, request: Request) -> Response:
    """Return a file, compressed where that is understood. Its address changes with it, so whoever has it keeps it."""
    if name not in _files() or asset_address(name) != f"/static/{digest}/{name}":
        raise NotFoundError(f"there is no {name} of that digest", hint="load the page again")
    suffix = name[name.rindex(".") :]
    headers = {"Cache-Control": _FOR_A_YEAR, "Vary": "Accept-Encoding"}
    if suffix in _COMPRESSED and _takes_gzip(request.headers.get("accept-encoding", "")):
        return Response(_packed(name), media_type=_TYPES[suffix], headers={**headers, "Content-Encoding": "gzip"})
    return Response(_files()[name], media_type=_TYPES[suffix], headers=headers)


def _takes_gzip(accepted: str) -> bool:
    """Whether a client says so (RFC 9110, 12.5.3); one that weighs it with 0 does not."""
    names = (part.partition(";") for part in accepted.lower().split(","))
    return any(name.strip() == "gzip" and weight.replace(" ", "") not in _NEVER for name, _, weight in names)


@cache
def _packed(name: str) -> bytes:
    """Return it compressed: it holds no secret, so nothing is told by how well that goes."""
    return gzip.compress(_files()[name], mtime=0)


@cache
def asset_address(name: str) -> str:
    """Return where pages find it."""
    return f"/static/{sha256(_files()[name]).hexdigest()[:16]}/{name}"


def asset_bytes(name: str) -> bytes:
    """Return what is in it."""
    return _files()[name]


@cache
def _files() -> dict[str, bytes]:
    folder = files("cloister.web") / "static"
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.name.endswith(tuple(_TYPES))}
