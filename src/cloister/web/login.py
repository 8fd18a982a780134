"""The page where somebody logs in with a token. What it sends is read by `cloister.api.login`."""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from cloister.api.login import PROBLEMS, local_path
from cloister.web.page import render

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)


@router.get("/login")
async def log_in(request: Request, problem: str = "", next: str = "/") -> Response:
    """Show the form."""
    return render(request, "login.html", words=PROBLEMS.get(problem, ""), wanted=local_path(next))
