"""Errors on the wire: problem documents (RFC 9457), and back."""

import re
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from cloister import errors
from cloister.errors import CloisterError, UnauthenticatedError, UnderWayError, UsageError

MEDIA_TYPE = "application/problem+json"
_URN = "urn:cloister:error:"
_ABOUT_BLANK = "about:blank"


class Problem(BaseModel):
    """An error (RFC 9457)."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    type: str = Field(examples=[f"{_URN}not-found"])
    """Which error it is; see docs/reference/errors.md."""
    title: str = Field(examples=["Not Found"])
    status: int = Field(examples=[404])
    detail: str
    """What was wrong, and where."""
    hint: str | None = None
    """What to do about it."""


def type_of(kind: type[CloisterError]) -> str:
    """Return the URI of an error: `urn:cloister:error:not-found` of NotFoundError."""
    return _URN + re.sub(r"(?<!^)(?=[A-Z])", "-", kind.__name__.removesuffix("Error")).lower()


_BY_TYPE = {
    type_of(kind): kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, CloisterError)
}


def error_to_problem(error: CloisterError) -> Problem:
    """Return what a caller is told of an error of ours."""
    status = error.http_status
    return Problem(
        type=type_of(type(error)),
        title=HTTPStatus(status).phrase,
        status=status,
        detail=_printable(error.message),
        hint=_printable(error.hint) if error.hint else None,
    )


def problem_to_error(problem: dict[str, Any]) -> CloisterError:
    """Return the error that `error_to_problem` told of; CloisterError for what this version does not know."""
    kind = _BY_TYPE.get(str(problem.get("type")), CloisterError)
    return kind(
        str(problem.get("detail") or problem.get("title") or "an error without words"), hint=problem.get("hint")
    )


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
    problem = Problem(type=_ABOUT_BLANK, title=HTTPStatus(status).phrase, status=status, detail=detail)
    return _response(problem, headers)


def validation_to_error(error: RequestValidationError) -> UsageError:
    """Return what a caller is told of a request that is not as it is described."""
    return UsageError("; ".join(_told(one) for one in error.errors()[:5]))


def answer_with_problems(app: FastAPI) -> None:
    """Let the application answer every error with a problem document."""

    @app.exception_handler(CloisterError)
    async def _ours(_: Request, error: CloisterError) -> JSONResponse:
        return problem_response(error)

    @app.exception_handler(RequestValidationError)
    async def _invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        return problem_response(validation_to_error(error))

    @app.exception_handler(HTTPException)
    async def _of_the_protocol(_: Request, error: HTTPException) -> JSONResponse:
        return http_problem_response(error.status_code, str(error.detail), error.headers)

    @app.exception_handler(Exception)
    async def _bug(_: Request, error: Exception) -> JSONResponse:
        detail = "an error of Cloister's own; its log has the details"
        return _response(Problem(type=type_of(CloisterError), title="Internal Server Error", status=500, detail=detail))


def _response(problem: Problem, headers: Any = None) -> JSONResponse:
    content = problem.model_dump(exclude_none=True)
    return JSONResponse(content, status_code=problem.status, headers=headers, media_type=MEDIA_TYPE)


def _told(one: dict[str, Any]) -> str:
    """Name the place and the reason, never the value: it may be a secret."""
    place = ".".join(str(part) for part in one["loc"])
    return _printable(f"{place}: {one['msg']}")


def _printable(text: str) -> str:
    return text.encode(errors="replace").decode()
