"""A real project to work on: the source distribution of click, made a git repository, with a bug seeded."""

import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from cloister.errors import RepositoryError

VERSION = "8.1.8"
_PLACE_OF_BUG = Path("src/click/utils.py")
_RIGHT = "if total_length > max_length:"
_WRONG = "if total_length >= max_length:"
_AUTHOR = {
    "GIT_AUTHOR_NAME": "Cloister demo",
    "GIT_AUTHOR_EMAIL": "demo@localhost",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
}


def prepare_project(folder: Path) -> Path:
    """Return the repository below `folder`, making it when it is not there yet.

    RepositoryError when the package index cannot be reached.
    """
    repository = folder / "click"
    if not repository.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as bench:
            _put(_make_repository(Path(bench)), repository)
    return repository


def _put(made: Path, repository: Path) -> None:
    try:
        made.rename(repository)
    except OSError:
        if not repository.exists():  # else another has made it meanwhile, of the same release
            raise


def _make_repository(bench: Path) -> Path:
    _download(bench)
    archive = next(bench.glob("click-*.tar.gz"))
    with tarfile.open(archive) as content:
        # Not as an argument of extractall, which Python 3.11 has not known from the start.
        content.extraction_filter = getattr(tarfile, "data_filter", None)
        content.extractall(bench)
    tree = bench / archive.name.removesuffix(".tar.gz")
    (tree / ".gitignore").write_text("__pycache__/\n.pytest_cache/\n")  # a source distribution has none
    _git(tree, "init", "--quiet", "--initial-branch=main")
    _commit(tree, f"click {VERSION}, as released")
    source = tree / _PLACE_OF_BUG
    source.write_text(source.read_text().replace(_RIGHT, _WRONG, 1))
    _commit(tree, "Tidy up short help")
    return tree


def _download(bench: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "download"]
    what = ["--no-deps", "--no-binary=:all:", f"--dest={bench}", f"click=={VERSION}"]
    done = subprocess.run([*pip, *what], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RepositoryError(f"click {VERSION} could not be downloaded: {done.stderr.strip()[-500:]}")


def _commit(tree: Path, message: str) -> None:
    _git(tree, "add", "--all")
    _git(tree, "commit", "--quiet", f"--message={message}")


def _git(tree: Path, *arguments: str) -> None:
    committer = {name.replace("AUTHOR", "COMMITTER"): value for name, value in _AUTHOR.items()}
    subprocess.run(["git", *arguments], cwd=tree, env={**os.environ, **_AUTHOR, **committer}, check=True)
