"""Fetches packages of the Python and the npm registry with the host's own clients; nothing that they bring is run."""

import platform
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from anyio import to_thread

from cloister.sandboxes.oci.build_command import Ended, operators_variables, run_command
from cloister.sandboxes.oci.image_build import require_programs
from cloister.sandboxes.oci.recipe_package import Registry, RegistryPackage

_GLIBC = re.compile(r"2\.(\d+)")
_PYTHON = re.compile(r"(?:\d+:)?(3\.\d+)")
_QUIET = ("--no-cache-dir", "--disable-pip-version-check", "--no-input", "--progress-bar=off")
_OLDEST_GLIBC = 5
_LEGACY_PLATFORMS = {5: "manylinux1", 12: "manylinux2010", 17: "manylinux2014"}


def _pip() -> Sequence[str]:
    if find_spec("pip"):
        return (sys.executable, "-I", "-m", "pip")
    require_programs("pip3")
    return ("pip3",)


class PackageFetcher:
    """Fetches for one tree, with the host's registries, credentials and proxies."""

    def __init__(self, packages: Mapping[str, str], folder: Path) -> None:
        """`packages` are the tree's, which decide which files will do; `folder` is where work is left."""
        self._packages = packages
        self._folder = folder

    async def fetch_archive(self, package: RegistryPackage, into: Path) -> Path:
        """Fetch the package alone, and return its archive: a wheel or a gzipped tar. SandboxError with last lines."""
        await to_thread.run_sync(into.mkdir)
        match package.registry:
            case Registry.PYTHON:
                await self._download(package, into, "--no-deps", *self._platforms())
            case Registry.NPM:
                await self._npm(package, "pack", "--pack-destination", str(into))
        [archive] = await to_thread.run_sync(lambda: list(into.iterdir()))
        return archive

    async def fetch_wheels(self, package: RegistryPackage, into: Path) -> None:
        """Fetch the Python package and all that it needs. SandboxError with pip's last lines."""
        await to_thread.run_sync(into.mkdir)
        await self._download(package, into, *self._python(), *self._platforms())

    async def install_wheels(self, package: RegistryPackage, into: Path) -> None:
        """Unpack the Python package and all that it needs in the folder `into`, without programs and byte code.

        SandboxError with pip's last lines.
        """
        quiet = (*_QUIET, "--no-compile", "--root-user-action=ignore", "--quiet")
        options = ("--only-binary=:all:", f"--target={into}", *self._python(), *self._platforms())
        ended = await self._run([*_pip(), "install", *quiet, *options, package.requirement])
        if ended.status != 0:
            raise ended.failure(f"fetching the Python package {package.requirement}", starts=("ERROR:",))
        await to_thread.run_sync(
            partial(shutil.rmtree, into / "bin", ignore_errors=True)
        )  # they name the host's Python

    async def install_npm(self, packages: Sequence[RegistryPackage], prefix: Path) -> None:
        """Install the packages and all that they need globally below `prefix`. No script of theirs is run."""
        await to_thread.run_sync(prefix.mkdir)
        for package in packages:
            await self._npm(package, "install", "--global", "--prefix", str(prefix))
        # It names the addresses that packages came from, and nothing needs it.
        (prefix / "lib/node_modules/.package-lock.json").unlink(missing_ok=True)

    async def _download(self, package: RegistryPackage, into: Path, *options: str) -> None:
        command = [*_pip(), "download", *_QUIET, "--only-binary=:all:", f"--dest={into}", *options, package.requirement]
        ended = await self._run(command)
        if ended.status != 0:
            raise ended.failure(f"fetching the Python package {package.requirement}", starts=("ERROR:",))

    async def _npm(self, package: RegistryPackage, *command: str) -> None:
        require_programs("npm")
        options = ("--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error")
        cache = f"--cache={self._folder / 'npm-cache'}"
        ended = await self._run(["npm", *command, *options, cache, package.requirement])
        if ended.status != 0:
            raise ended.failure(f"fetching the npm package {package.requirement}", starts=("npm error", "npm ERR!"))

    async def _run(self, command: Sequence[str]) -> Ended:
        place = self._folder / "empty"  # so that no configuration of a project counts
        place.mkdir(exist_ok=True)
        temporary = self._folder / "tmp"
        temporary.mkdir(exist_ok=True)
        variables = operators_variables() | {"TMPDIR": str(temporary)}
        return await run_command(command, variables=variables, folder=place)

    def _python(self) -> Sequence[str]:
        """Return pip's options for the tree's own Python."""
        found = _PYTHON.match(self._packages["python3"])
        assert found is not None, "Debian's python3 is named by its version"
        abi = f"cp{found[1].replace('.', '')}"
        abis = (option for name in (abi, "abi3", "none") for option in ("--abi", name))
        return ("--python-version", found[1], "--implementation", "cp", *abis)

    def _platforms(self) -> Sequence[str]:
        """Return pip's options for the platforms that the tree's C library can serve (PEP 600), the newest first."""
        found = _GLIBC.match(self._packages.get("libc6", ""))
        newest = int(found[1]) if found else _OLDEST_GLIBC
        machine = platform.machine()
        names = []
        for minor in range(newest, _OLDEST_GLIBC - 1, -1):
            names.append(f"manylinux_2_{minor}_{machine}")
            if minor in _LEGACY_PLATFORMS:
                names.append(f"{_LEGACY_PLATFORMS[minor]}_{machine}")
        return [option for name in [*names, f"linux_{machine}"] for option in ("--platform", name)]
