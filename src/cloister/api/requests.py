"""What clients send, as JSON values; the counterpart of the bodies that routes read."""

from base64 import b64encode
from collections.abc import Sequence
from typing import Any

from cloister.errors import EnvironmentFileError
from cloister.model.given import Upload
from cloister.model.request import (
    EnvironmentChoice,
    EnvironmentName,
    EnvironmentText,
    RepositoryFile,
    Request,
    ReviewRequest,
)

Fields = dict[str, Any]


def request_to_fields(request: Request) -> Fields:
    """Return what a TaskBody is read from, secrets included."""
    shell = request.shell
    return {
        "repository": request.repository,
        "prompt": request.prompt,
        "ref": request.ref,
        "environment": choice_to_fields(request.environment),
        "agent": request.agent,
        "model": request.model,
        "command": request.command,
        "attempts": request.attempts,
        "patch": None if request.patch is None else b64encode(request.patch).decode(),
        "variables": dict(request.variables),
        "secrets": {name: value.reveal() for name, value in request.secrets.items()},
        "internet": request.internet,
        "allow": list(request.allow),
        "use_cache": request.use_cache,
        "ask": request.ask,
        "files": uploads_to_fields(request.files),
        "priority": request.priority,
        "shell": None if shell is None else {"phase": shell.phase, "terminal": shell.terminal},
    }


def review_to_fields(asked: ReviewRequest) -> Fields:
    """Return what a ReviewBody is read from."""
    return {
        "repository": asked.repository,
        "number": asked.number,
        "focus": asked.focus,
        "lowest": asked.lowest,
        "incremental": asked.incremental,
        "post": asked.post,
        "environment": choice_to_fields(asked.environment),
        "agent": asked.agent,
        "model": asked.model,
        "command": asked.command,
    }


def uploads_to_fields(uploads: Sequence[Upload]) -> list[Fields]:
    """Return what FileBodies are read from."""
    return [{"name": upload.name, "data": b64encode(upload.data).decode(), "image": upload.image} for upload in uploads]


def choice_to_fields(choice: EnvironmentChoice | None) -> Fields | None:
    """Return what an EnvironmentBody is read from. EnvironmentFileError for a file that is not text."""
    match choice:
        case None:
            return None
        case EnvironmentName():
            return {"name": choice.name, "version": choice.version}
        case EnvironmentText():
            return content_to_fields(choice)


def content_to_fields(content: EnvironmentText | RepositoryFile) -> Fields:
    """Return what a ContentBody is read from. EnvironmentFileError for a file that is not text."""
    if isinstance(content, RepositoryFile):
        return {"repository": content.repository, "ref": content.ref}
    try:
        text = content.raw.decode()
    except UnicodeDecodeError:
        from cloister.environment_file import read_environment

        read_environment(content.raw, source=content.source, default_name="")  # says where
        raise EnvironmentFileError(f"{content.source}: not UTF-8") from None
    return {"source": content.source.encode(errors="replace").decode(), "text": text}
