"""Forms that a browser sends, with files or without, as what they are read as."""

from collections.abc import AsyncIterator, Callable
from typing import TypeVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.datastructures import FormData

from cloister.api.own_page import KEY_FIELD

MOST_FILES = 64
MOST_FIELDS = 2000
LARGEST_FIELD_BYTES = 34 * 1024 * 1024
"""A little more than the largest patch, so that what is wrong with a larger one is said by who knows it."""

Posted = TypeVar("Posted", bound=BaseModel)


async def read_form(request: Request) -> FormData:
    """Return what was sent, and let the audit know the names in it."""
    form = await request.form(max_files=MOST_FILES, max_fields=MOST_FIELDS, max_part_size=LARGEST_FIELD_BYTES)
    request.state.sent = {name: value if isinstance(value, str) else "" for name, value in form.items()}
    return form


def posted_as(shape: type[Posted]) -> Callable[[Request], AsyncIterator[Posted]]:
    """Return the dependency that reads a form as that. Of files it takes none: `read_form` has them."""

    async def read(request: Request) -> AsyncIterator[Posted]:
        form = await read_form(request)
        texts = {name: value for name, value in form.items() if isinstance(value, str) and name != KEY_FIELD}
        try:
            yield shape.model_validate(texts)
        except ValidationError as error:
            raise RequestValidationError(error.errors(include_url=False)) from error
        finally:
            await form.close()

    return read


def changes_nothing(request: Request) -> None:
    """Let the audit know that this asks something, in a form because it is too long for an address."""
    request.state.is_change = False


def unix(text: str) -> str:
    """Undo what forms do to the ends of lines."""
    return text.replace("\r\n", "\n")
