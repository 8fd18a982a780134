"""What makes the pages an application of a phone: a manifest, and a service worker that shows notifications.

Both are the same for everybody, and are asked for without a session.
"""

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

from cloister.web.assets import asset_address, asset_bytes

router = APIRouter()
OPEN_PATHS = frozenset({"/manifest.webmanifest", "/service-worker.js"})

_ICONS = (
    ("icon-192.png", "192x192", "any"),
    ("icon-512.png", "512x512", "any"),
    ("icon-512.png", "512x512", "maskable"),
)


@router.get("/manifest.webmanifest", response_class=JSONResponse)
async def manifest() -> JSONResponse:
    """Return the manifest (W3C Web Application Manifest)."""
    icons = [
        {"src": asset_address(name), "sizes": sizes, "type": "image/png", "purpose": purpose}
        for name, sizes, purpose in _ICONS
    ]
    fields = {
        "name": "Cloister",
        "short_name": "Cloister",
        "id": "/",
        "start_url": "/",
        "scope": "/",
        "display": "standalone",
        "background_color": "#f6f5f2",
        "theme_color": "#1f6b57",
        "icons": icons,
        "shortcuts": [{"name": "New task", "url": "/tasks/new"}],
    }
    return JSONResponse(fields, media_type="application/manifest+json", headers={"Cache-Control": "no-cache"})


@router.get("/service-worker.js", response_class=Response)
async def service_worker() -> Response:
    """Return it from the root, so that all pages are in its scope. It keeps no page: they are of now."""
    headers = {"Cache-Control": "no-cache"}
    return Response(asset_bytes("service-worker.js"), media_type="text/javascript", headers=headers)
