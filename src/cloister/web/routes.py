"""All pages, as an addition to the application."""

from collections.abc import Sequence
from functools import cache

from fastapi import APIRouter, FastAPI
from starlette.routing import BaseRoute

from cloister.web import (
    about_pages,
    access_pages,
    assets,
    audit_page,
    change_pages,
    dashboard,
    environment_cache,
    environment_checks,
    environment_draft_check,
    environment_editor,
    environment_import,
    environment_pages,
    fleet_pages,
    installable,
    live,
    live_output,
    login,
    network_page,
    new_task,
    notification_pages,
    pictures,
    publishing,
    schedule_pages,
    secret_pages,
    shell,
    task_list,
    task_pages,
    tour,
    webhook_pages,
)
from cloister.web.headers import SecurityHeaders
from cloister.web.page import error_page

_PARTS = (
    task_list,
    tour,
    new_task,
    live,
    live_output,
    shell,
    pictures,
    publishing,
    change_pages,
    network_page,
    task_pages,
    environment_import,
    environment_draft_check,
    environment_checks,
    environment_cache,
    environment_editor,
    environment_pages,
    secret_pages,
    schedule_pages,
    webhook_pages,
    notification_pages,
    dashboard,
    audit_page,
    about_pages,
)
ROUTERS = (
    *(part.router for part in _PARTS),
    task_pages.elsewhere,
    fleet_pages.images,
    fleet_pages.agents,
    fleet_pages.workers,
    access_pages.tokens,
    access_pages.users,
    access_pages.sessions,
)
"""Whoever asks has a role."""
OPEN_ROUTERS = tuple(part.router for part in (assets, login, installable))
"""Whoever asks is answered."""


@cache
def _pages() -> Sequence[BaseRoute]:
    """Return all routes, made once: they have no state, so that applications share them."""
    whole = APIRouter()
    for router in (*OPEN_ROUTERS, *ROUTERS):
        whole.include_router(router)
    return whole.routes


def add_web(app: FastAPI) -> None:
    """Let the application show pages."""
    app.router.routes.extend(_pages())
    app.state.open_paths |= installable.OPEN_PATHS
    app.state.show_problem = error_page
    app.state.shells = shell.Shells()
    app.state.seen_pulls = publishing.SeenPulls()
    app.add_middleware(SecurityHeaders)
