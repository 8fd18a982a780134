"""Builds a recipe's tree with mmdebstrap, in namespaces that end with us, and tells how far it is."""

import os
import re
import shutil
import subprocess
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from anyio.abc import Process
from anyio.streams.text import TextReceiveStream

from cloister.errors import DiskFullError, HostError, SandboxError
from cloister.model.image import BuildProgress
from cloister.sandboxes.oci.image_recipe import ImageRecipe
from cloister.sandboxes.oci.image_sources import PackageSources, host_sources

ReportProgress = Callable[[BuildProgress], None]

_DOCTOR = "run `cloister doctor`, which says what to install"
_KEPT_LINES = 200
_SHOWN_LINES = 8
_LONGEST_LINE = 64 * 1024

# Documentation, translations and fsync: an image has no reader, and is synced as a whole when it is complete.
_DPKG_OPTIONS = (
    "force-unsafe-io",
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/man/*",
)

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
    """Make the recipe's root file system below `folder`, owned as inside, and return where it is.

    Whatever happens, every process of the build is dead when this returns or raises; `folder` is then the
    caller's to remove. HostError when a program is missing, DiskFullError, SandboxError with the last lines.
    """
    _require_programs("mmdebstrap", "apt-get", "apt-config", "unshare", "setpriv")
    _require_root()
    sources = await host_sources()
    apt_options = folder / "apt.conf"
    apt_options.write_text("\n".join(sources.apt_options))
    root = folder / "rootfs"
    lines: deque[str] = deque(maxlen=_KEPT_LINES)
    temporary = folder / "tmp"
    temporary.mkdir()
    command = _in_dying_namespaces(_mmdebstrap(recipe, root, sources, apt_options))
    async with _running(command, temporary) as process:
        await _follow(process, lines, report)
        status = await process.wait()
    if status != 0:
        raise _failure(recipe, lines)
    return root


def _require_programs(*names: str) -> None:
    for name in names:
        if shutil.which(name) is None:
            raise HostError(f"cannot build an image: {name} is not installed", hint=_DOCTOR)


def _require_root() -> None:
    if os.geteuid() != 0:
        raise HostError("cannot build an image: only root can make files of other owners", hint=_DOCTOR)


def _in_dying_namespaces(command: Sequence[str]) -> list[str]:
    """Wrap a command so that it, all that it starts and all that it mounts end when we do, even by SIGKILL."""
    pid_namespace = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--")
    return ["setpriv", "--pdeathsig", "KILL", "--", *pid_namespace, *command]


def _mmdebstrap(recipe: ImageRecipe, root: Path, sources: PackageSources, apt_options: Path) -> list[str]:
    return [
        "mmdebstrap",
        "--mode=root",
        "--format=directory",
        "--verbose",
        f"--variant={recipe.variant}",
        f"--aptopt={apt_options}",
        *(f"--dpkgopt={option}" for option in _DPKG_OPTIONS),
        *(f"--include={package}" for package in recipe.packages),
        sources.codename,
        str(root),
        *sources.lines,
    ]


@asynccontextmanager
async def _running(command: Sequence[str], temporary: Path) -> AsyncIterator[Process]:
    """Run the command, and leave no process of it behind."""
    process = await anyio.open_process(
        command, stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT, env=_variables(temporary), umask=0o022
    )
    try:
        yield process
    finally:
        with anyio.CancelScope(shield=True):
            await _kill(process)


async def _kill(process: Process) -> None:
    if process.returncode is None:
        process.kill()
    await process.wait()
    # The others of its pid namespace die just after it. The pipe's end tells that none is left that could write.
    assert process.stdout is not None
    async for _ in process.stdout:
        pass
    await process.aclose()


def _variables(temporary: Path) -> dict[str, str]:
    passed_on = ("PATH", "http_proxy", "https_proxy", "no_proxy")
    variables = {name: os.environ[name] for name in passed_on if name in os.environ}
    return variables | {"LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive", "TMPDIR": str(temporary)}


async def _follow(process: Process, lines: deque[str], report: ReportProgress) -> None:
    assert process.stdout is not None
    progress = ProgressReader()
    # Names of files may hold any byte.
    async for line in _lines_of(TextReceiveStream(process.stdout, errors="replace")):
        lines.append(line)
        if step := progress.read(line):
            report(step)


async def _lines_of(stream: TextReceiveStream) -> AsyncIterator[str]:
    rest = ""
    async for text in stream:
        *complete, rest = (rest + text).split("\n")
        for line in complete:
            yield line
        rest = rest[-_LONGEST_LINE:]
    if rest:
        yield rest


def _failure(recipe: ImageRecipe, lines: Sequence[str]) -> SandboxError:
    if any("No space left on device" in line for line in lines):
        return DiskFullError(f"no space left to build the image {recipe.name!r}")
    told = [line for line in lines if line.startswith(("E: ", "W: ", "Err:"))] or list(lines)
    return SandboxError(f"building the image {recipe.name!r} failed:\n" + "\n".join(told[-_SHOWN_LINES:]))
