"""Scripts, styles and pictures of the pages: files of this package, made by `./dev web`."""

from functools import cache
from hashlib import sha256
from importlib.resources import files

from fastapi import APIRouter
from fastapi.responses import Response

from cloister.errors import NotFoundError

_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".png": "image/png"}
_FOR_A_YEAR = "public, max-age=31536000, immutable"

router = APIRouter()


@router.get("/static/{digest}/{name}", response_class=Response)
async def asset(digest: str, name: str) -> Response:
    """Return a file. Its address changes with it, so whoever has it keeps it."""
    if name not in _files() or asset_address(name) != f"/static/{digest}/{name}":
        raise NotFoundError(f"there is no {name} of that digest", hint="load the page again")
    suffix = name[name.rindex(".") :]
    return Response(_files()[name], media_type=_TYPES[suffix], headers={"Cache-Control": _FOR_A_YEAR})


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
