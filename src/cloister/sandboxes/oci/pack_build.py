"""Makes an agent's pack of registry packages and, for some, of the distribution's Python; runs no package's code."""

import os
import platform
import shutil
from collections.abc import Mapping
from pathlib import Path

from anyio import to_thread

from cloister.errors import SandboxError
from cloister.model.image import BuildProgress
from cloister.model.pack import PACKS, PackPart, PackRecipe, PythonPart
from cloister.sandboxes.oci.build_command import Ended, run_command
from cloister.sandboxes.oci.image_build import ReportProgress, build_tree
from cloister.sandboxes.oci.image_fetch import PackageFetcher
from cloister.sandboxes.oci.image_inside import SYSTEM_PATH
from cloister.sandboxes.oci.image_recipe import ImageRecipe
from cloister.sandboxes.oci.image_unpackage import unpack_package
from cloister.sandboxes.oci.recipe_package import RegistryPackage, parse_npm_package, parse_python_package

_PYTHON_PACKAGES = ("ca-certificates", "libpython3-stdlib", "libstdc++6", "python3-minimal", "zlib1g")
_OLDEST_LIBC = "2.28"
"""Of the images that native programs of packs shall run in, as Debian 10 and RHEL 8 have it."""
_LAUNCHER = """\
#!/bin/sh
# The loader and the libraries are the pack's own, so that the image may have others, or none.
here={place}/python
exec "$here/lib/{loader}" --library-path "$here/lib" --argv0 "$here/bin/python3" "$here/bin/python" {arguments} "$@"
"""
_LIBRARIES = ("lib", "usr/lib")
_PARTS_SHARE = 0.9


async def build_pack(recipe: PackRecipe, folder: Path, report: ReportProgress) -> Path:
    """Make the pack in `folder`, a new one, and return the tree that holds it in a folder of its name.

    SandboxError with the last lines of what failed, DiskFullError, HostError when a program is missing. Whatever
    happens, no process of the build is left.
    """
    tree = folder / "tree"
    place = tree / recipe.name
    await to_thread.run_sync(lambda: place.mkdir(parents=True))
    for number, part in enumerate(recipe.parts):
        package = parse_npm_package(part.npm) if part.npm else parse_python_package(part.wheel)
        report(BuildProgress(f"fetching {package.requirement}", _PARTS_SHARE * number / len(recipe.parts)))
        await _add_part(part, package, place, folder / f"part-{number}")
    if recipe.python is not None:
        await _add_python(recipe, recipe.python, place, folder / "python", report)
    program = place / recipe.program
    if not (program.is_file() and os.access(program, os.X_OK)):
        raise SandboxError(f"the packages of the agent {recipe.name} have no program {recipe.program}")
    return tree


async def _add_part(part: PackPart, package: RegistryPackage, place: Path, folder: Path) -> None:
    await to_thread.run_sync(folder.mkdir)
    archive = await PackageFetcher({"libc6": _OLDEST_LIBC}, folder).fetch_archive(package, folder / "archive")
    unpacked = folder / "unpacked"
    await to_thread.run_sync(unpack_package, archive, unpacked)
    wanted = unpacked / part.folder.format(machine=platform.machine())
    if not wanted.is_dir() or not wanted.resolve().is_relative_to(unpacked.resolve()):
        raise SandboxError(f"{package.requirement} has no folder {part.folder}")
    target = place / part.place
    target.parent.mkdir(parents=True, exist_ok=True)
    wanted.rename(target)
    await to_thread.run_sync(shutil.rmtree, folder)


async def _add_python(recipe: PackRecipe, part: PythonPart, place: Path, folder: Path, report: ReportProgress) -> None:
    """Put the distribution's Python into the pack, and beside it the wheels, compiled.

    The distribution's packages are unpacked and no script of theirs is run either. Its Python compiles what was
    unpacked, and loads nothing of it.
    """
    package = parse_python_package(part.requirement)
    await to_thread.run_sync(folder.mkdir)
    report(BuildProgress("fetching Python", 0.1))
    names = tuple((name,) for name in _PYTHON_PACKAGES)
    root = await build_tree(ImageRecipe(name=recipe.name, packages=names, variant="extract"), folder, _ignore)
    loader = await to_thread.run_sync(_take_python, root, place / "python")
    packages = await _versions(place / "python", loader)
    report(BuildProgress(f"fetching {package.requirement}", 0.3))
    site = place / "python/lib/python3/dist-packages"
    await PackageFetcher(packages, folder).install_wheels(package, site)
    report(BuildProgress("compiling", 0.7))
    await _compile(place, loader)
    _write_program(place / "python/bin/python3", f"{PACKS}/{recipe.name}", loader, "")
    _write_program(place / recipe.program, f"{PACKS}/{recipe.name}", loader, f"-I -m {part.module}")
    await to_thread.run_sync(shutil.rmtree, folder)


def _take_python(root: Path, target: Path) -> str:
    """Move interpreter, standard library and shared libraries to `target`, and return the name of the loader."""
    [version] = (path.name for path in (root / "usr/lib").glob("python3.*"))
    library = target / "lib"
    library.mkdir(parents=True)
    (target / "bin").mkdir()
    (root / "usr/bin" / version).rename(target / "bin/python")
    (root / "usr/lib" / version).rename(library / version)
    (library / version / "sitecustomize.py").unlink(missing_ok=True)  # Debian's, a link to /etc
    for folder in _LIBRARIES:
        for found in sorted((root / folder).glob("*-linux-gnu/*.so*")):
            if found.is_file():
                shutil.copy2(found, library / found.name)
    return _loader_of(library)


def _loader_of(library: Path) -> str:
    found = sorted(path.name for path in library.glob("ld-linux-*.so.*"))
    if len(found) != 1:
        raise SandboxError(f"the distribution's C library has not one loader, but {found or 'none'}")
    return found[0]


async def _versions(python: Path, loader: str) -> Mapping[str, str]:
    """Return which Python and C library these are, as Debian's packages would say it."""
    ask = "import os, sys; print(*os.confstr('CS_GNU_LIBC_VERSION').split()[1:], '%d.%d' % sys.version_info[:2])"
    ended = await _run_python(python, loader, "-c", ask)
    if ended.status != 0:
        raise ended.failure("starting the distribution's Python outside of its place")
    libc, version = ended.lines[-1].split()
    return {"libc6": libc, "python3": version}


async def _compile(place: Path, loader: str) -> None:
    options = (
        "-q",
        "-j",
        "0",
        "--invalidation-mode",
        "unchecked-hash",
        "-s",
        str(place),
        "-p",
        f"{PACKS}/{place.name}",
    )
    python = place / "python"
    ended = await _run_python(python, loader, "-m", "compileall", *options, str(python / "lib"))
    if ended.status not in (0, 1):  # 1: some package brings a file that is no Python, which nobody imports then
        raise ended.failure("compiling the agent's Python packages")


async def _run_python(python: Path, loader: str, *arguments: str) -> Ended:
    """Run the distribution's Python, which loads no package of a registry, without a network."""
    start = (
        str(python / "lib" / loader),
        "--library-path",
        str(python / "lib"),
        "--argv0",
        str(python / "bin/python3"),
    )
    command = [*start, str(python / "bin/python"), "-I", "-S", *arguments]
    return await run_command(command, variables={"PATH": SYSTEM_PATH}, namespaces=("--mount-proc", "--net"))


def _write_program(path: Path, place: str, loader: str, arguments: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_LAUNCHER.format(place=place, loader=loader, arguments=arguments))
    path.chmod(0o755)


def _ignore(_: BuildProgress) -> None:
    """Report to nobody."""
