"""From the files of other services to an environment file."""

import re
from collections.abc import Callable, Collection

from cloister.environment_file import read_environment
from cloister.errors import EnvironmentFileError, UsageError
from cloister.importing import cursor, devcontainer, openhands, workflow
from cloister.importing.draft import Draft
from cloister.importing.layout import environment_text
from cloister.importing.result import ImportedEnvironment

Reader = Callable[[bytes, str, str], Draft]

_FORMATS: tuple[tuple[re.Pattern[str], Reader], ...] = (
    (re.compile(r"\.github/workflows/copilot-setup-steps\.ya?ml"), workflow.read),
    (re.compile(r"\.cursor/environment\.json"), cursor.read),
    (re.compile(r"\.openhands/setup\.sh"), openhands.read),
    (re.compile(r"\.devcontainer/devcontainer\.json|\.devcontainer\.json"), devcontainer.read),
    (re.compile(r"\.devcontainer/[^/]+/devcontainer\.json"), devcontainer.read),
)
"""Path to how it is read, the first choice first: what was written for agents goes before what is for people."""

CANDIDATES = (
    ".github/workflows/copilot-setup-steps.yml",
    ".github/workflows/copilot-setup-steps.yaml",
    ".cursor/environment.json",
    ".openhands/setup.sh",
    ".devcontainer.json",
    ".devcontainer",
)
"""Files, and folders in which there may be some."""


def find_sources(paths: Collection[str]) -> list[str]:
    """Return those of the paths that can be imported, the first choice first."""
    found = [(number, path) for path in paths if (number := _number(path)) is not None]
    return [path for _, path in sorted(found, key=lambda pair: (pair[0], pair[1] == ".devcontainer.json", pair[1]))]


def convert(
    raw: bytes, *, path: str, commit: str, workspace: str, others: Collection[str], default_name: str
) -> ImportedEnvironment:
    """Return the environment file that says what `path`, whose content is `raw`, says.

    `workspace` is where the work tree will be in a sandbox. UsageError when the file cannot be read as what its
    name says, or when no valid environment file can say it.
    """
    number = _number(path)
    if number is None:
        raise UsageError(f"{path} is no file that can be imported", hint=f"known are: {', '.join(CANDIDATES)}")
    draft = _FORMATS[number][1](raw, path, workspace)
    draft.settle()
    text = environment_text(draft, source=path, commit=commit, others=tuple(others))
    try:
        read_environment(text.encode(), source="what was made of it", default_name=default_name)
    except EnvironmentFileError as error:
        raise UsageError(f"{path} says what no environment file can: {error}") from error
    return ImportedEnvironment(
        source=path,
        others=tuple(others),
        text=text,
        taken=tuple(draft.taken),
        left=tuple(draft.left),
        secrets=tuple(draft.secrets),
    )


def _number(path: str) -> int | None:
    return next((number for number, (pattern, _) in enumerate(_FORMATS) if pattern.fullmatch(path)), None)
