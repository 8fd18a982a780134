"""NAME|FILE: how every command names an environment."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cloister.errors import UsageError

if TYPE_CHECKING:
    from cloister.model.request import EnvironmentChoice, EnvironmentText

EnvironmentArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="NAME|FILE",
        help="A stored environment, or a file if it has a slash or ends in .toml; "
        "by default .cloister/environment.toml at that commit.",
    ),
]


def read_choice(given: str | None) -> "EnvironmentChoice | None":
    """Return what NAME|FILE means; see `is_file_name`. UsageError when a file cannot be read."""
    from cloister.model.request import EnvironmentName
    from cloister.model.stored_environment import is_file_name

    if given is None:
        return None
    return read_environment_file(Path(given)) if is_file_name(given) else EnvironmentName(name=given)


def read_environment_file(path: Path) -> "EnvironmentText":
    """Read an environment file. UsageError when it cannot be read."""
    from cloister.model.request import EnvironmentText

    return EnvironmentText(source=str(path), raw=read_input(path, "environment file"))


def read_input(path: Path, what: str) -> bytes:
    """Read a file that a user named. UsageError when it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read the {what} {path}: {error.strerror}") from error
