"""Every ecosystem's part, put together."""

from cloister.detection import node, others, python
from cloister.model.project import ProjectFiles, path_in
from cloister.model.setup_plan import SetupPlan

_CONDA = ("environment.yml", "environment.yaml")


def plan_setup(files: ProjectFiles) -> SetupPlan:
    """Return what automatic setup does for a project with these files. Never fails: what cannot be read is a note."""
    notes: list[str] = []
    steps = (*python.steps(files, notes), *node.steps(files, notes), *others.steps(files))
    notes += [_conda_note(path) for path in _conda_files(files)]
    return SetupPlan(steps=steps, notes=tuple(notes))


def _conda_files(files: ProjectFiles) -> list[str]:
    folders = files.folders_with(_CONDA)
    return [path for folder in folders for name in _CONDA if (path := path_in(folder, name)) in files.files]


def _conda_note(path: str) -> str:
    return f"{path}: conda is not supported; install what it names with [setup] script"
