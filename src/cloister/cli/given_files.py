"""Reads what a user gives with a prompt."""

import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from cloister.errors import UsageError
from cloister.model.given import LARGEST_GIVEN_BYTES, Upload
from cloister.model.quantity import size_to_text

FileOption = Annotated[list[Path] | None, typer.Option(metavar="PATH", help="File to give with the prompt.")]
ImageOption = Annotated[list[Path] | None, typer.Option(metavar="PATH", help="Picture to give with the prompt.")]


def read_uploads(files: Sequence[Path], images: Sequence[Path]) -> tuple[Upload, ...]:
    """Read them, files first. UsageError for what cannot be read, is no regular file, or is too large."""
    return (
        *(Upload(name=path.name, data=_read(path)) for path in files),
        *(Upload(name=path.name, data=_read(path), image=True) for path in images),
    )


def _read(path: Path) -> bytes:
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise UsageError(f"{path} is no regular file")
        if found.st_size > LARGEST_GIVEN_BYTES:  # it need not be read to be refused
            most = size_to_text(LARGEST_GIVEN_BYTES)
            raise UsageError(
                f"{path} has {size_to_text(found.st_size)}; a file that comes with a prompt has at most {most}"
            )
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
