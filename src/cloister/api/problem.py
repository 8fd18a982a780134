"""Errors on the wire: problem documents (RFC 9457), and back."""

import re
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from cloister import errors
from cloister.errors import CloisterError

MEDIA_TYPE = "application/problem+json"
_URN = "urn:cloister:error:"


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
        detail=printable(error.message),
        hint=printable(error.hint) if error.hint else None,
    )


def problem_to_error(problem: dict[str, Any]) -> CloisterError:
    """Return the error that `error_to_problem` told of; CloisterError for what this version does not know."""
    kind = _BY_TYPE.get(str(problem.get("type")), CloisterError)
    return kind(
        str(problem.get("detail") or problem.get("title") or "an error without words"), hint=problem.get("hint")
    )


def printable(text: str) -> str:
    """Return what of a text can be sent: a byte of a file name may be no character."""
    return text.encode(errors="replace").decode()
