"""Puts a recipe's registry packages into its tree; what they bring is not run."""

import csv
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from anyio import to_thread

from cloister.errors import SandboxError, UsageError
from cloister.model.image import BuildProgress
from cloister.sandboxes.oci.image_build import ReportProgress, build_tree
from cloister.sandboxes.oci.image_fetch import PackageFetcher
from cloister.sandboxes.oci.image_inside import INPUTS, run_inside
from cloister.sandboxes.oci.image_recipe import ImageRecipe, ToolchainRecipe
from cloister.sandboxes.oci.image_tree import installed_packages
from cloister.sandboxes.oci.image_unpackage import unpack_package
from cloister.sandboxes.oci.recipe_package import RegistryPackage

_PROGRAMS = "/usr/local/bin"
_VENVS = "/opt/python-packages"
_SCRIPT = re.compile(r"\.\./\.\./\.\./bin/([A-Za-z0-9._-]+)")
# The distribution's own Python and pip run here, and the wheels' content does not. Byte code that names the hash of its
# source is the same in every build.
_INSTALL_WHEELS = f"""
python3 -m venv --without-pip "$0"
python3 -m pip --isolated --python "$0/bin/python" install --no-index --find-links {INPUTS} --no-compile \
    --no-cache-dir --disable-pip-version-check --root-user-action=ignore --quiet "$1"
python3 -m compileall -q --invalidation-mode unchecked-hash "$0/lib" || true
"""

_DEBIAN_SHARE = 0.7
_ALL_PACKAGES = 0.9


async def build_recipe(recipe: ImageRecipe, folder: Path, report: ReportProgress) -> Path:
    """Make the recipe's whole root file system below `folder`, owned as inside, and return where it is.

    The errors are those of `build_tree` and `install_packages`; whatever happens, no process of the build is left.
    """
    if not recipe.adds_to_debian:
        return await build_tree(recipe, folder, report)

    def report_debian(progress: BuildProgress) -> None:
        report(BuildProgress(progress.stage, progress.fraction * _DEBIAN_SHARE))

    def report_packages(progress: BuildProgress) -> None:
        reached = _ALL_PACKAGES * _DEBIAN_SHARE
        report(BuildProgress(progress.stage, reached + progress.fraction * (_ALL_PACKAGES - reached)))

    root = await build_tree(recipe, folder, report_debian)
    packages = await to_thread.run_sync(installed_packages, root)
    await install_packages(recipe, root, folder / "registries", packages, report_packages)
    return root


async def install_packages(
    recipe: ImageRecipe, root: Path, folder: Path, packages: Mapping[str, str], report: ReportProgress
) -> None:
    """Fetch and install what `recipe` has of registries in the tree `root`, working in `folder`, a new one.

    `packages` are the Debian packages in the tree. SandboxError with the last lines of what failed, DiskFullError,
    UsageError for a path of the recipe that the tree does not allow.
    """
    await to_thread.run_sync(folder.mkdir)
    fetcher = PackageFetcher(packages, folder)
    steps = _Steps(recipe, report)
    for number, toolchain in enumerate(recipe.toolchains):
        if toolchain.package:
            steps.begin(toolchain.package)
            archive = await fetcher.fetch_archive(toolchain.package, folder / f"toolchain-{number}")
            await to_thread.run_sync(_place, toolchain, archive, root)
    if recipe.npm_packages:
        steps.begin(*recipe.npm_packages)
        await fetcher.install_npm(recipe.npm_packages, folder / "npm")
        await to_thread.run_sync(_merge, folder / "npm", root / "usr/local")
    for number, package in enumerate(recipe.python_packages):
        steps.begin(package)
        wheels = folder / f"wheels-{number}"
        await fetcher.fetch_wheels(package, wheels)
        await _install_wheels(package, wheels, root)
    for toolchain in _defaults(recipe.toolchains):
        _link_programs(toolchain.place, root)
    for path, text in recipe.files.items():
        _write(path, text, root)


class _Steps:
    """Tells which package is being seen to."""

    def __init__(self, recipe: ImageRecipe, report: ReportProgress) -> None:
        self._total = sum(1 for toolchain in recipe.toolchains if toolchain.package)
        self._total += len(recipe.python_packages) + len(recipe.npm_packages)
        self._done = 0
        self._report = report

    def begin(self, *packages: RegistryPackage) -> None:
        names = ", ".join(package.requirement for package in packages)
        self._report(BuildProgress(f"installing {names}", self._done / self._total))
        self._done += len(packages)


def _defaults(toolchains: Sequence[ToolchainRecipe]) -> Sequence[ToolchainRecipe]:
    """Return of each language the first toolchain, when it has a place."""
    first = {toolchain.language: toolchain for toolchain in reversed(toolchains)}
    return [toolchain for toolchain in first.values() if toolchain.place]


def _place(toolchain: ToolchainRecipe, archive: Path, root: Path) -> None:
    unpacked = archive.with_name("unpacked")
    unpack_package(archive, unpacked)
    archive.unlink()
    wanted = unpacked / toolchain.folder
    if not wanted.is_dir() or not wanted.resolve().is_relative_to(unpacked.resolve()):
        raise SandboxError(f"{archive.name} has no folder {toolchain.folder}")
    place = _inside(root, toolchain.place)
    if place.exists():
        raise UsageError(f"the place {toolchain.place} of a {toolchain.language} toolchain is taken in the image")
    place.parent.mkdir(parents=True, exist_ok=True)
    wanted.rename(place)
    place.chmod(0o755)
    shutil.rmtree(unpacked, ignore_errors=True)


def _link_programs(place: str, root: Path) -> None:
    programs = root / _PROGRAMS.lstrip("/")
    for program in sorted(_inside(root, f"{place}/bin").glob("*")):
        if program.is_file() and os.access(program, os.X_OK) and not (programs / program.name).is_symlink():
            (programs / program.name).symlink_to(f"{place}/bin/{program.name}")


async def _install_wheels(package: RegistryPackage, wheels: Path, root: Path) -> None:
    venv = f"{_VENVS}/{package.name}"
    command = ("/bin/sh", "-ec", _INSTALL_WHEELS, venv, package.requirement)
    ended = await run_inside(root, command, inputs=wheels, writable=True)
    if ended.status != 0:
        raise ended.failure(f"installing the Python package {package.requirement}", starts=("ERROR:",))
    for name in _scripts_of(package, root / venv.lstrip("/")):
        target = root / _PROGRAMS.lstrip("/") / name
        if not target.is_symlink():
            target.symlink_to(f"{venv}/bin/{name}")


def _scripts_of(package: RegistryPackage, venv: Path) -> Sequence[str]:
    """Return the programs that the package itself brought, as its record of files says, without those it needs."""
    name = re.sub(r"[-_.]+", "_", package.name).lower()
    records = list(venv.glob("lib/python3*/site-packages/*.dist-info/RECORD"))
    [record] = [path for path in records if re.sub(r"[-_.]+", "_", path.parent.name.split("-")[0]).lower() == name]
    with record.open(newline="") as file:
        found = (_SCRIPT.fullmatch(row[0]) for row in csv.reader(file) if row)
        return sorted(match[1] for match in found if match)


def _merge(source: Path, target: Path) -> None:
    """Move what is below `source` to `target`, where nothing of it may be yet but folders."""
    for entry in source.iterdir():
        place = target / entry.name
        if entry.is_dir() and not entry.is_symlink() and place.is_dir():
            _merge(entry, place)
        elif place.is_symlink() or place.exists():
            raise SandboxError(f"{entry.name} of the npm packages is there already")
        else:
            entry.rename(place)


def _write(path: str, text: str, root: Path) -> None:
    place = _inside(root, path)
    if place.is_dir():
        raise UsageError(f"{path} in files is a folder of the image")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.unlink(missing_ok=True)
    place.write_text(text)
    place.chmod(0o644)


def _inside(root: Path, path: str) -> Path:
    """Return where `path` is in the tree. UsageError when a link on the way leads out of it."""
    place = root / path.lstrip("/")
    parent = place.parent.resolve()
    if not parent.is_relative_to(root.resolve()):
        raise UsageError(f"{PurePosixPath(path)} of the recipe goes through a link of the image; name the real path")
    return parent / place.name
