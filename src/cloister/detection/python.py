"""Python: pip (requirements files, pyproject.toml, setup.py), uv, poetry, pipenv."""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from cloister.detection.setuptools import extras_in_setup_cfg, extras_in_setup_py
from cloister.detection.tools import python_program
from cloister.model.project import ProjectFiles, folder_of, is_requirements, path_in
from cloister.model.setup_plan import InstallStep
from cloister.toml_text import load_toml

VENV = "/opt/venv"
"""Where dependencies go: outside the work tree, active in setup and for the agent."""
_VARIABLES: Mapping[str, str] = {
    "VIRTUAL_ENV": VENV,
    "UV_PROJECT_ENVIRONMENT": VENV,
    "UV_PYTHON_DOWNLOADS": "never",
    "UV_LINK_MODE": "copy",
    "UV_COMPILE_BYTECODE": "1",  # once, in setup: not again by each agent
    "PIPENV_VERBOSITY": "-1",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_PROGRESS_BAR": "off",
    "POETRY_VIRTUALENVS_CREATE": "false",
}

_MAKE_VENV = f"[ -x {VENV}/bin/python ] || python3 -m venv {VENV}"
_FOR_TESTS = re.compile(r"(?:[\w-]*[_-])?(?:test|tests|testing|dev|develop|development)(?:[_-][\w-]*)?", re.ASCII)
"""Extras, groups and requirements files that a project's tests need."""
_BASE_REQUIREMENTS = frozenset({"requirements", "base", "main", "common", "default"})
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?", re.ASCII)
_SAYS_POETRY = frozenset({"dependencies", "dev-dependencies", "group"})
"""Tables of `[tool.poetry]` that poetry alone installs."""
_MANIFESTS = ("pyproject.toml", "setup.py", "setup.cfg", "Pipfile")
_DOCUMENTATION = frozenset({"doc", "docs"})
"""Folders whose requirements files build pages; no test needs what they name."""
_MOST_NESTED_GROUPS = 20


def steps(files: ProjectFiles, notes: list[str]) -> Iterator[InstallStep]:
    """Yield one step for each project; the members of a uv workspace come with its lock file."""
    locked: list[str] = []
    for folder in _folders(files):
        if any(folder.startswith(f"{outer}/" if outer else "") for outer in locked) and not _has_lock(files, folder):
            continue
        project = _pyproject(files, folder, notes)
        step = _step(files, folder, project)
        if step is not None:
            if step.tool == "uv":
                locked.append(folder)
            yield step


def _folders(files: ProjectFiles) -> list[str]:
    """Folders of projects, outermost first. `requirements/` belongs to the project around it."""
    folders = set(files.folders_with(_MANIFESTS))
    for path in filter(is_requirements, files.files):
        folder = folder_of(path)
        if not _DOCUMENTATION.isdisjoint(folder.split("/")):
            continue
        folders.add(folder_of(folder) if PurePosixPath(folder).name == "requirements" else folder)
    return sorted(folders, key=lambda folder: (folder.count("/") + bool(folder), folder))


def _has_lock(files: ProjectFiles, folder: str) -> bool:
    return any(files.find(folder, name) for name in ("uv.lock", "poetry.lock", "Pipfile.lock"))


def _step(files: ProjectFiles, folder: str, project: dict[str, Any]) -> InstallStep | None:
    if files.find(folder, "uv.lock"):
        return _uv(folder, project)
    poetry = _table(project, "tool", "poetry")
    if files.find(folder, "poetry.lock") or poetry.keys() & _SAYS_POETRY:
        return _poetry(files, folder, project)
    if files.find(folder, "Pipfile"):
        return _pipenv(files, folder)
    return _pip(files, folder, project)


def _uv(folder: str, project: dict[str, Any]) -> InstallStep:
    lock = path_in(folder, "uv.lock")
    groups = [f"--group {name}" for name in _wanted(_table(project, "dependency-groups")) if name != "dev"]
    extras = [f"--extra {name}" for name in _wanted(_table(project, "project", "optional-dependencies"))]
    command = " ".join(["uv sync --frozen --inexact --all-packages", *groups, *extras])
    return _in_venv("uv", folder, lock, command, prelude=python_program("uv"))


def _poetry(files: ProjectFiles, folder: str, project: dict[str, Any]) -> InstallStep:
    groups = _table(project, "tool", "poetry", "group")
    optional = [name for name in _wanted(groups) if _table(groups, name).get("optional")]
    extras = _wanted(_table(project, "tool", "poetry", "extras") or _table(project, "project", "optional-dependencies"))
    options = [f"--with {name}" for name in optional] + [f"--extras {name}" for name in extras]
    deciding = path_in(folder, "poetry.lock" if files.find(folder, "poetry.lock") else "pyproject.toml")
    command = " ".join(["poetry install --no-interaction", *options])
    return _in_venv("poetry", folder, deciding, command, prelude=python_program("poetry"))


def _pipenv(files: ProjectFiles, folder: str) -> InstallStep:
    has_lock = files.find(folder, "Pipfile.lock") is not None
    command = "pipenv sync --dev" if has_lock else "pipenv install --dev --skip-lock"
    deciding = path_in(folder, "Pipfile.lock" if has_lock else "Pipfile")
    return _in_venv("pipenv", folder, deciding, command, prelude=python_program("pipenv"))


def _pip(files: ProjectFiles, folder: str, project: dict[str, Any]) -> InstallStep | None:
    requirements = _requirements(files, folder)
    groups = [shlex.quote(requirement) for requirement in _group_requirements(project)]
    package = [name for name in ("pyproject.toml", "setup.py", "setup.cfg") if files.find(folder, name)]
    is_package = bool(project.get("project") or project.get("build-system") or files.find(folder, "setup.py"))
    if not (requirements or groups or is_package):
        return None
    extras = ",".join(_extras(files, folder, project))
    words = [f"-r {shlex.quote(name)}" for name in requirements] + groups
    if is_package:
        words.append(f"--editable {shlex.quote(f'.[{extras}]' if extras else '.')}")
    deciding = [*requirements, *(package if is_package or groups else [])]
    inputs = tuple(path_in(folder, name) for name in sorted({*deciding, *_all_requirements(files, folder)}))
    reason = ", ".join(path_in(folder, name) for name in deciding)
    return _in_venv("pip", folder, reason, f"pip install {' '.join(words)}", inputs=inputs)


def _extras(files: ProjectFiles, folder: str, project: dict[str, Any]) -> Sequence[str]:
    """Return the extras for tests, by pyproject.toml and, as setuptools has it, setup.cfg and setup.py."""
    declared = dict(_table(project, "project", "optional-dependencies"))
    for name, read in (("setup.cfg", extras_in_setup_cfg), ("setup.py", extras_in_setup_py)):
        if not declared and (file := files.find(folder, name)):
            declared = dict.fromkeys(read(file.text))
    return _wanted(declared)


def _in_venv(
    tool: str,
    folder: str,
    reason: str,
    command: str,
    *,
    inputs: tuple[str, ...] | None = None,
    prelude: tuple[str, ...] = (),
) -> InstallStep:
    """Return the step that installs into the virtual environment; by default the file that decides is its input."""
    return InstallStep(
        tool=tool,
        folder=folder,
        reason=reason,
        commands=(command,),
        inputs=inputs or (reason,),
        prelude=(*prelude, _MAKE_VENV),
        variables=_VARIABLES,
        path=(f"{VENV}/bin",),
    )


def _all_requirements(files: ProjectFiles, folder: str) -> list[str]:
    """Every requirements file of the project, from its folder: one may include another."""
    places = (folder, path_in(folder, "requirements"))
    # In this order: of a thousand projects, each is asked about the files of all.
    own = (path for path in files.files if folder_of(path) in places and is_requirements(path))
    return sorted(path.removeprefix(f"{folder}/" if folder else "") for path in own)


def _requirements(files: ProjectFiles, folder: str) -> list[str]:
    """The requirements files to install, from the folder: the main one first, then those for tests and development."""
    own = [path for path in _all_requirements(files, folder) if "constraints" not in path]
    base = [path for path in own if PurePosixPath(path).stem in _BASE_REQUIREMENTS]
    tests = [path for path in own if path not in base and _FOR_TESTS.fullmatch(_purpose(path))]
    return sorted(base) + sorted(tests)


def _purpose(path: str) -> str:
    """What a requirements file is for: `dev` of `requirements-dev.txt`, `test_requirements.txt` is `test`."""
    return re.sub(r"[_.-]?requirements[_.-]?", "", PurePosixPath(path).stem)


def _group_requirements(project: dict[str, Any]) -> Iterator[str]:
    """What the dependency groups for tests name (PEP 735), those that they include too."""
    groups = _table(project, "dependency-groups")
    for name in _wanted(groups):
        yield from _expand(groups, name, _MOST_NESTED_GROUPS)


def _expand(groups: Mapping[str, Any], name: str, depth: int) -> Iterator[str]:
    entries = groups.get(name)
    for entry in entries if isinstance(entries, list) and depth else ():
        if isinstance(entry, str) and not entry.startswith("-"):
            yield entry
        elif isinstance(entry, dict):
            yield from _expand(groups, str(entry.get("include-group")), depth - 1)


def _wanted(table: Mapping[str, Any]) -> Sequence[str]:
    """Names in a table of extras or groups that are for tests or development, as they are written there."""
    return [name for name in table if _NAME.fullmatch(name) and _FOR_TESTS.fullmatch(name)]


def _pyproject(files: ProjectFiles, folder: str, notes: list[str]) -> dict[str, Any]:
    file = files.find(folder, "pyproject.toml")
    try:
        return load_toml(file.text) if file else {}
    except ValueError as error:
        notes.append(f"{path_in(folder, 'pyproject.toml')} is not valid TOML: {error}")
        return {}


def _table(content: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    """Return the table at these keys; an empty one when something else is there."""
    found: Any = content
    for key in keys:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}
