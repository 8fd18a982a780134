"""The page where somebody logs in with a token. What it sends is read by `cloister.api.login`."""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from cloister.api.front import KnownAccess
from cloister.api.login import PROBLEMS, local_path
from cloister.web.page import render

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)


@router.get("/login")
async def log_in(
    request: Request, access: KnownAccess, problem: str = "", next: str = "/", left: bool = False
) -> Response:
    """Show the form."""
    words, by_provider = PROBLEMS.get(problem, ""), access.provider is not None
    return render(request, "login.html", words=words, wanted=local_path(next), by_provider=by_provider, left=left)
