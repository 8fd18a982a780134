"""What a person wants to know of the server itself: its settings, and how its pages are used."""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from cloister.api.caller import Admin, Viewer
from cloister.settings import Settings
from cloister.settings_shown import shown_settings
from cloister.web.page import PageRoute, render

router = APIRouter(route_class=PageRoute, include_in_schema=False, default_response_class=HTMLResponse)


@router.get("/settings")
async def settings(request: Request, _: Admin) -> Response:
    """Show each setting, where it came from, and of what is secret only that it is set."""
    known: Settings | None = request.app.state.settings
    return render(request, "settings.html", shown=() if known is None else shown_settings(known))


@router.get("/help")
async def help_page(request: Request, _: Viewer) -> Response:
    """Show the keyboard shortcuts."""
    return render(request, "help.html")
