"""The OpenAPI document, made to say what is answered: clients are generated from it."""

import json
from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from cloister.api.problem import MEDIA_TYPE

_PROBLEM = {"$ref": "#/components/schemas/Problem"}
_JSON = "application/json"


def describe(app: FastAPI) -> None:
    """Let the application's document say that errors are problem documents, which FastAPI does not know of."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = get_openapi(
                title=app.title, version=app.version, routes=app.routes, separate_input_output_schemas=False
            )
            for answer in _answers(app.openapi_schema):
                content = answer.get("content", {})
                if content.get(_JSON, {}).get("schema") == _PROBLEM:
                    answer["content"] = {MEDIA_TYPE: content[_JSON]}
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI's own documentation says


def document_to_text(app: FastAPI) -> str:
    """Return the document as it is kept in a file."""
    return json.dumps(app.openapi(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _answers(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for path in document["paths"].values():
        for operation in path.values():
            yield from operation["responses"].values()
