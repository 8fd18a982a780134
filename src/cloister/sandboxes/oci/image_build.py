"""Builds the Debian part of a recipe's tree with mmdebstrap, and tells how far it is."""

import os
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from cloister.errors import HostError
from cloister.model.image import BuildProgress
from cloister.sandboxes.oci.build_command import run_command
from cloister.sandboxes.oci.image_recipe import ImageRecipe
from cloister.sandboxes.oci.image_sources import PackageSources, choose_packages, host_sources

ReportProgress = Callable[[BuildProgress], None]

_DOCTOR = "run `cloister doctor`, which says what to install"

# Documentation, translations and fsync: an image has no reader, and is synced as a whole when it is complete.
_DPKG_OPTIONS = (
    "force-unsafe-io",
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/man/*",
)
# The alternatives of some packages (Java, PostgreSQL) are manuals too, and fail when their folders are not there.
_MAKE_MANUALS = 'mkdir -p "$1"/usr/share/man/man1 "$1"/usr/share/man/man7 "$1"/usr/share/man/man8'
_TELLING = ("E: ", "W: ", "Err:", "dpkg: error", "update-alternatives: error")

_NEWLY_INSTALLED = re.compile(r"\d+ upgraded, (\d+) newly installed")
_STAGES = {
    "running apt-get update": ("reading the package lists", 0.02),
    "downloading packages": ("fetching the essential packages", 0.06),
    "installing essential packages": ("installing the essential packages", 0.10),
    "installing remaining packages": ("installing packages", 0.25),
    "cleaning package lists": ("cleaning up", 0.90),
}
_LAST_STAGE_OF_PACKAGES = 0.90
_STEPS = {"Get:": "fetching", "Unpacking ": "unpacking", "Setting up ": "setting up"}


class ProgressReader:
    """Turns mmdebstrap's verbose output, line by line, into progress."""

    def __init__(self) -> None:
        self._stage = "starting"
        self._floor = 0.0
        self._total = 0
        self._done = 0
        self._reported = -1.0

    def read(self, line: str) -> BuildProgress | None:
        """Return the progress that `line` tells of, or None when it tells of none."""
        if line.startswith("I: "):
            return self._enter_stage(line)
        if found := _NEWLY_INSTALLED.match(line):
            self._total, self._done = int(found[1]) * len(_STEPS), 0
            return None
        for start, step in _STEPS.items():
            if line.startswith(start) and self._total:
                self._done += 1
                return self._progress(f"{self._stage}: {step}")
        return None

    def _enter_stage(self, line: str) -> BuildProgress | None:
        for text, (stage, floor) in _STAGES.items():
            if text in line:
                self._stage, self._floor, self._total = stage, floor, 0
                return self._progress(stage)
        return None

    def _progress(self, stage: str) -> BuildProgress:
        ceiling = min((floor for _, floor in _STAGES.values() if floor > self._floor), default=_LAST_STAGE_OF_PACKAGES)
        share = min(self._done / self._total, 1.0) if self._total else 0.0
        self._reported = max(self._reported, self._floor + share * (ceiling - self._floor))
        return BuildProgress(stage, self._reported)


async def build_tree(recipe: ImageRecipe, folder: Path, report: ReportProgress) -> Path:
    """Make the root file system of the recipe's Debian packages below `folder`, owned as inside, and return where.

    Whatever happens, every process of the build is dead when this returns or raises; `folder` is then the
    caller's to remove. HostError when a program is missing, DiskFullError, SandboxError with the last lines.
    """
    require_programs("mmdebstrap", "apt-get", "apt-config", "unshare", "setpriv")
    _require_root()
    sources = await host_sources()
    packages = await choose_packages(recipe.packages)
    apt_options = folder / "apt.conf"
    apt_options.write_text("\n".join(sources.apt_options))
    root = folder / "rootfs"
    temporary = folder / "tmp"
    temporary.mkdir()
    progress = ProgressReader()

    def follow(line: str) -> None:
        if step := progress.read(line):
            report(step)

    command = _mmdebstrap(recipe.variant, packages, root, sources, apt_options)
    ended = await run_command(command, variables=_variables(temporary), on_line=follow)
    if ended.status != 0:
        raise ended.failure(f"building the image {recipe.name!r}", starts=_TELLING)
    return root


def require_programs(*names: str) -> None:
    """HostError when one of these programs is not on this host."""
    for name in names:
        if shutil.which(name) is None:
            raise HostError(f"cannot build an image: {name} is not installed", hint=_DOCTOR)


def _require_root() -> None:
    if os.geteuid() != 0:
        raise HostError("cannot build an image: only root can make files of other owners", hint=_DOCTOR)


def _mmdebstrap(
    variant: str, packages: Sequence[str], root: Path, sources: PackageSources, apt_options: Path
) -> list[str]:
    return [
        "mmdebstrap",
        "--mode=root",
        "--format=directory",
        "--verbose",
        f"--variant={variant}",
        f"--aptopt={apt_options}",
        *(f"--dpkgopt={option}" for option in _DPKG_OPTIONS),
        f"--essential-hook={_MAKE_MANUALS}",
        *(f"--include={package}" for package in packages),
        sources.codename,
        str(root),
        *sources.lines,
    ]


def _variables(temporary: Path) -> dict[str, str]:
    passed_on = ("PATH", "http_proxy", "https_proxy", "no_proxy")
    variables = {name: os.environ[name] for name in passed_on if name in os.environ}
    return variables | {"LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive", "TMPDIR": str(temporary)}
