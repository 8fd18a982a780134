"""Answers that are problem documents."""

from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

from cloister.api.asked_by_browser import wants_page
from cloister.api.problem import MEDIA_TYPE, Problem, error_to_problem, printable, type_of
from cloister.errors import CloisterError, UnauthenticatedError, UnderWayError, UsageError

_ABOUT_BLANK = "about:blank"


def problem_response(error: CloisterError) -> JSONResponse:
    """Return the answer to a request that ended so."""
    return _response(error_to_problem(error), _headers_of(error))


def _headers_of(error: CloisterError) -> dict[str, str]:
    match error:
        case UnauthenticatedError():
            return {"WWW-Authenticate": "Bearer"}
        case UnderWayError():
            return {"Retry-After": "1"}
        case _:
            return {}


def http_problem_response(status: int, detail: str, headers: Any = None) -> JSONResponse:
    """Return the answer to a request that the protocol itself has something against."""
    return _response(_problem_of_the_protocol(status, detail), headers)


def _problem_of_the_protocol(status: int, detail: str) -> Problem:
    return Problem(type=_ABOUT_BLANK, title=HTTPStatus(status).phrase, status=status, detail=detail)


def validation_to_error(error: RequestValidationError) -> UsageError:
    """Return what a caller is told of a request that is not as it is described."""
    return UsageError("; ".join(_told(one) for one in error.errors()[:5]))


def answer_with_problems(app: FastAPI) -> None:
    """Let the application answer every error with a problem document.

    Where it has pages, `app.state.show_problem` makes one of what a browser looks for in vain.
    """
    show: Callable[[Request, Problem], Response] | None = getattr(app.state, "show_problem", None)

    @app.exception_handler(CloisterError)
    async def _ours(_: Request, error: CloisterError) -> JSONResponse:
        return problem_response(error)

    @app.exception_handler(RequestValidationError)
    async def _invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        return problem_response(validation_to_error(error))

    @app.exception_handler(HTTPException)
    async def _of_the_protocol(request: Request, error: HTTPException) -> Response:
        if show is not None and wants_page(request):
            return show(request, _problem_of_the_protocol(error.status_code, str(error.detail)))
        headers = dict(error.headers or {})
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            headers["Allow"] = ", ".join(sorted(_methods_at(request))) or headers.get("Allow", "")
        return http_problem_response(error.status_code, str(error.detail), headers)

    @app.exception_handler(Exception)
    async def _bug(_: Request, error: Exception) -> JSONResponse:
        detail = "an error of Cloister's own; its log has the details"
        return _response(Problem(type=type_of(CloisterError), title="Internal Server Error", status=500, detail=detail))


def _methods_at(request: Request) -> Iterator[str]:
    """All that the place answers, as the document says: of the routes there, the framework names one."""
    paths, place = request.app.openapi()["paths"], request.url.path
    for path in [place] if place in paths else paths:  # `/sessions/current` is no session by its id
        if compile_path(path)[0].match(place):
            yield from (method.upper() for method in paths[path])


def _response(problem: Problem, headers: Any = None) -> JSONResponse:
    content = problem.model_dump(exclude_none=True)
    return JSONResponse(content, status_code=problem.status, headers=headers, media_type=MEDIA_TYPE)


def _told(one: dict[str, Any]) -> str:
    """Name the place and the reason, never the value: it may be a secret."""
    place = ".".join(str(part) for part in one["loc"])
    return printable(f"{place}: {one['msg']}")
