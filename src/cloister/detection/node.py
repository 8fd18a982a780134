"""JavaScript: npm, yarn (classic and berry), pnpm, bun."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from cloister.detection.tools import exact_npm_package, npm_package
from cloister.model.project import ProjectFiles, path_in
from cloister.model.setup_plan import InstallStep

_LOCKS = {
    "package-lock.json": "npm",
    "npm-shrinkwrap.json": "npm",
    "pnpm-lock.yaml": "pnpm",
    "yarn.lock": "yarn",
    "bun.lock": "bun",
    "bun.lockb": "bun",
}
_PACKAGE_MANAGER = re.compile(r"(npm|yarn|pnpm|bun)@(\d+\.\d+\.\d+[0-9A-Za-z.-]*)(?:\+.*)?", re.ASCII)
_REGISTRY_OF_NPM = "$(npm config get registry)"
"""Yarn has a default of its own; a machine that is configured for a mirror has told npm."""
_DEPENDENCIES = ("dependencies", "devDependencies", "optionalDependencies")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Package:
    """A folder with a package.json."""

    folder: str
    content: dict[str, object]
    locks: tuple[str, ...]
    """Names of its lock files."""
    declared: tuple[str, str] | None
    """The package manager of `packageManager`, and its version."""
    berry: bool
    """Whether yarn's second generation is configured here."""
    has_registry: bool
    """Whether that configuration names a registry."""

    @property
    def tool(self) -> str:
        """The field `packageManager` says it; else the lock file; else it is npm."""
        return self.declared[0] if self.declared else _LOCKS[self.locks[0]] if self.locks else "npm"

    @property
    def lock(self) -> str | None:
        """The lock file that this tool reads."""
        return next((name for name in self.locks if _LOCKS[name] == self.tool), None)

    @property
    def has_members(self) -> bool:
        """Whether packages in folders below are installed with it."""
        return bool(self.content.get("workspaces"))


def steps(files: ProjectFiles, notes: list[str]) -> Iterator[InstallStep]:
    """Yield one step for each project. A package that an outer one installs, or that locks nothing, has none."""
    installed: list[str] = []
    for folder in files.folders_with(["package.json"]):
        package = _read(files, folder, notes)
        is_inner = any(folder.startswith(f"{outer}/" if outer else "") for outer in installed)
        if package is None or (is_inner and not package.lock) or not _wants_packages(package, files):
            continue
        installed.append(folder)
        yield _step(package, files)


def _read(files: ProjectFiles, folder: str, notes: list[str]) -> _Package | None:
    path = path_in(folder, "package.json")
    try:
        content = json.loads(files.files[path].text)
    except (ValueError, RecursionError) as error:
        notes.append(f"{path} is not valid JSON, so nothing is installed for it: {error}")
        return None
    if not isinstance(content, dict):
        notes.append(f"{path} holds no object, so nothing is installed for it")
        return None
    declared = _PACKAGE_MANAGER.fullmatch(str(content.get("packageManager", "")))
    yarnrc = files.find(folder, ".yarnrc.yml")
    second = bool(declared and declared[1] == "yarn" and not declared[2].startswith("1."))
    return _Package(
        folder=folder,
        content=content,
        locks=tuple(name for name in _LOCKS if files.find(folder, name)),
        declared=(declared[1], declared[2]) if declared else None,
        berry=second or yarnrc is not None,
        has_registry=yarnrc is not None and "npmRegistryServer" in yarnrc.text,
    )


def _wants_packages(package: _Package, files: ProjectFiles) -> bool:
    members = package.has_members or files.find(package.folder, "pnpm-workspace.yaml") is not None
    return bool(package.locks) or members or any(package.content.get(name) for name in _DEPENDENCIES)


def _step(package: _Package, files: ProjectFiles) -> InstallStep:
    prelude, command = _WAYS[package.tool](package)
    deciding = [package.lock] if package.lock else ["package.json", "pnpm-workspace.yaml"]
    reason = package.lock or ("packageManager in package.json" if package.declared else "package.json")
    return InstallStep(
        tool="yarn berry" if package.tool == "yarn" and package.berry else package.tool,
        folder=package.folder,
        reason=path_in(package.folder, reason),
        commands=(command,),
        inputs=tuple(path for name in deciding if (path := path_in(package.folder, name)) in files.files),
        prelude=prelude,
    )


def _npm(package: _Package) -> tuple[tuple[str, ...], str]:
    quiet = "--no-fund --no-audit"
    return (), f"npm ci {quiet}" if package.lock else f"npm install --no-package-lock {quiet}"


def _pnpm(package: _Package) -> tuple[tuple[str, ...], str]:
    prelude = exact_npm_package("pnpm", "pnpm", package.declared[1]) if package.declared else _ANY_PNPM
    return prelude, "pnpm install " + ("--frozen-lockfile" if package.lock else "--no-lockfile")


def _yarn(package: _Package) -> tuple[tuple[str, ...], str]:
    if package.berry:
        prelude = (
            exact_npm_package("yarn", "@yarnpkg/cli-dist", package.declared[1]) if package.declared else _ANY_BERRY
        )
        registry = "" if package.has_registry else f'YARN_NPM_REGISTRY_SERVER="{_REGISTRY_OF_NPM}" '
        return prelude, f"{registry}yarn install" + (" --immutable" if package.lock else "")
    prelude = exact_npm_package("yarn", "yarn", package.declared[1]) if package.declared else _ANY_YARN
    registry = f'npm_config_registry="{_REGISTRY_OF_NPM}" '
    return prelude, f"{registry}yarn install --non-interactive " + (
        "--frozen-lockfile" if package.lock else "--no-lockfile"
    )


def _bun(package: _Package) -> tuple[tuple[str, ...], str]:
    return npm_package("bun", "bun"), "bun install " + ("--frozen-lockfile" if package.lock else "--no-save")


_ANY_PNPM = npm_package("pnpm", "pnpm@9")
_ANY_YARN = npm_package("yarn", "yarn@1")
_ANY_BERRY = npm_package("yarn", "@yarnpkg/cli-dist")
_WAYS: dict[str, Callable[[_Package], tuple[tuple[str, ...], str]]] = {
    "npm": _npm,
    "pnpm": _pnpm,
    "yarn": _yarn,
    "bun": _bun,
}
