"""The files of a commit that say what a project needs: manifests and lock files, by path."""

import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

LOCK_FILES = frozenset(
    {
        "Cargo.lock",
        "Gemfile.lock",
        "Pipfile.lock",
        "bun.lock",
        "bun.lockb",
        "composer.lock",
        "go.sum",
        "gradle.lockfile",
        "npm-shrinkwrap.json",
        "package-lock.json",
        "pnpm-lock.yaml",
        "poetry.lock",
        "uv.lock",
        "yarn.lock",
    }
)
MANIFESTS = frozenset(
    {
        ".nvmrc",
        ".node-version",
        ".python-version",
        ".ruby-version",
        ".tool-versions",
        ".yarnrc.yml",
        "Cargo.toml",
        "Gemfile",
        "Pipfile",
        "build.gradle",
        "build.gradle.kts",
        "composer.json",
        "environment.yaml",
        "environment.yml",
        "go.mod",
        "go.work",
        "gradle-wrapper.properties",
        "gradlew",
        "maven-wrapper.properties",
        "mvnw",
        "package.json",
        "pnpm-workspace.yaml",
        "pom.xml",
        "pyproject.toml",
        "rust-toolchain",
        "rust-toolchain.toml",
        "settings.gradle",
        "settings.gradle.kts",
        "setup.cfg",
        "setup.py",
    }
)

LARGEST_MANIFEST_BYTES = 256 * 1024
"""A larger manifest is known by its identity alone; nobody writes such a one by hand."""

_BESIDE_THE_PROJECT = frozenset(
    {"__fixtures__", "__tests__", "examples", "example", "fixtures", "node_modules", "test", "testdata", "tests"}
    | {"templates", "third_party", "vendor", "venv", ".venv"}
)
"""Folders whose manifests are somebody else's, or data of tests."""
_DEEPEST = 4


@dataclass(frozen=True, slots=True)
class ProjectFile:
    """One manifest or lock file."""

    blob: str
    """Git's identity of its content."""
    text: str = ""
    """Its content, with bytes that are no UTF-8 replaced; empty for a lock file and above LARGEST_MANIFEST_BYTES."""


@dataclass(frozen=True, slots=True)
class ProjectFiles:
    """Manifests and lock files of one commit, by path from the root of the repository."""

    files: Mapping[str, ProjectFile] = field(default_factory=dict)

    def find(self, folder: str, name: str) -> ProjectFile | None:
        """Return the file of that name in `folder` (`""` is the root)."""
        return self.files.get(path_in(folder, name))

    def folders_with(self, names: Collection[str]) -> Iterator[str]:
        """Yield each folder that has one of these files, outermost first."""
        folders = {folder_of(path) for path in self.files if PurePosixPath(path).name in names}
        yield from sorted(folders, key=lambda folder: (folder.count("/") + bool(folder), folder))

    def digest_of(self, paths: Collection[str]) -> str:
        """Return one digest of the files at these paths, which changes exactly when one of them does."""
        lines = (f"{path}\0{self.files[path].blob}\n" for path in sorted(paths) if path in self.files)
        return hashlib.sha256("".join(lines).encode()).hexdigest()


def is_project_file(path: str) -> bool:
    """Whether a path names a manifest or lock file of the project itself."""
    *folders, name = path.split("/")
    if len(folders) > _DEEPEST or not _BESIDE_THE_PROJECT.isdisjoint(folders):
        return False
    return name in LOCK_FILES or name in MANIFESTS or is_requirements(path)


def is_requirements(path: str) -> bool:
    """Whether a path looks like a file of pip's: `dev-requirements.txt`, `requirements/test.txt`, `constraints.txt`."""
    pure = PurePosixPath(path)
    named = any(word in pure.stem for word in ("requirements", "constraints"))
    return pure.suffix == ".txt" and (named or pure.parent.name == "requirements")


def folder_of(path: str) -> str:
    """Return the folder of a path, `""` for the root."""
    return path.rpartition("/")[0]


def path_in(folder: str, name: str) -> str:
    """Return the path of a file in a folder."""
    return f"{folder}/{name}" if folder else name
