"""All pages, as an addition to the application."""

from fastapi import FastAPI

from cloister.web import assets, environment_pages, live, login, new_task, secret_pages, task_list, task_pages
from cloister.web.headers import SecurityHeaders
from cloister.web.page import error_page

_PARTS = (task_list, new_task, live, task_pages, environment_pages, secret_pages)
ROUTERS = (*(part.router for part in _PARTS), task_pages.elsewhere)
"""Whoever asks has a role."""
OPEN_ROUTERS = tuple(part.router for part in (assets, login))
"""Whoever asks is answered."""


def add_web(app: FastAPI) -> None:
    """Let the application show pages."""
    for router in (*OPEN_ROUTERS, *ROUTERS):
        app.include_router(router)
    app.state.show_problem = error_page
    app.add_middleware(SecurityHeaders)
