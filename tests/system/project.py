"""A git repository that a test fills as it likes."""

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_WHO = {
    f"GIT_{role}_{what}": value
    for role in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "A. Author"), ("EMAIL", "author@example.com"), ("DATE", "2026-01-01T00:00:00Z"))
}


@dataclass(frozen=True)
class Project:
    """A work tree at `path`, on the branch `main`."""

    path: Path

    @classmethod
    def create(cls, path: Path, files: Mapping[str, str]) -> "Project":
        project = cls(path)
        path.mkdir(parents=True)
        project.git("init", "--quiet", "--initial-branch=main")
        project.commit(files)
        return project

    def commit(self, files: Mapping[str, str]) -> str:
        """Write these files, commit everything, and return the commit."""
        for name, content in files.items():
            target = self.path / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(content)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message=step")
        return self.git("rev-parse", "HEAD").strip()

    def git(self, *arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments],
            cwd=self.path,
            env={**os.environ, **_WHO, "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null"},
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout
