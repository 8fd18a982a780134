"""Where packages of an image come from: the distribution, mirrors and proxies that the host's own apt uses."""

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio

from cloister.errors import HostError, SandboxError

_POCKETS = ("", "-updates", "-security")
_COMPONENTS = ("main", "universe")
_FIELDS = "$(RELEASE)\t$(CODENAME)\t$(COMPONENT)\t$(REPO_URI)"
_PROXY_KEYS = ("Acquire::http::Proxy", "Acquire::https::Proxy")


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageSources:
    """What mmdebstrap is told."""

    codename: str
    lines: tuple[str, ...]
    """One-line source entries (sources.list(5)); none lets mmdebstrap use the distribution's own mirrors."""
    apt_options: tuple[str, ...]
    """Lines of apt.conf(5) that say how to get out."""


async def host_sources() -> PackageSources:
    """Return the host's distribution as its apt sees it; other vendors' repositories are left out.

    HostError when this is no Debian or Ubuntu; SandboxError when apt's configuration cannot be read.
    """
    try:
        release = platform.freedesktop_os_release()
        distribution, codename = release["ID"], release["VERSION_CODENAME"]
    except (OSError, KeyError) as error:
        raise HostError("cannot tell which release of Debian or Ubuntu this host runs from /etc/os-release") from error
    targets = await _output_of("apt-get", "indextargets", "--format", _FIELDS, "Created-By: Packages")
    dump = await _output_of("apt-config", "dump", *_PROXY_KEYS)
    return PackageSources(
        codename=codename,
        lines=select_sources(targets, codename=codename, keyring=_keyring(distribution)),
        apt_options=tuple(line for line in dump.splitlines() if line.startswith(_PROXY_KEYS) and '""' not in line),
    )


async def choose_packages(packages: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Return of each package the first name that the host's apt knows a version of; the last when it knows none."""
    doubtful = [name for names in packages if len(names) > 1 for name in names]
    listed = await _output_of("apt-cache", "madison", *doubtful) if doubtful else ""
    offered = {line.split("|")[0].strip() for line in listed.splitlines()}
    return tuple(next((name for name in names if name in offered), names[-1]) for names in packages)


def select_sources(targets: str, *, codename: str, keyring: Path | None) -> tuple[str, ...]:
    """Return source entries for the release `codename` out of apt's index targets, one a line, in `_FIELDS`.

    A repository of another vendor that serves the same codename is told by its components.
    """
    suites = [codename + pocket for pocket in _POCKETS]
    signed_by = f"[signed-by={keyring}] " if keyring else ""
    lines = []
    for target in targets.splitlines():
        release, its_codename, component, address = target.split("\t")
        suite = next((suite for suite in suites if suite in (release, its_codename)), None)
        if suite and component in _COMPONENTS and address.startswith(("http://", "https://")):
            lines.append(f"deb {signed_by}{address} {suite} {component}")
    has_base = any(line.split()[-2] == codename for line in lines)
    return tuple(dict.fromkeys(lines)) if has_base else ()


def _keyring(distribution: str) -> Path | None:
    path = Path(f"/usr/share/keyrings/{distribution}-archive-keyring.gpg")
    return path if path.exists() else None


async def _output_of(*command: str) -> str:
    try:
        process = await anyio.run_process(command, check=False)
    except OSError as error:
        raise HostError(f"cannot run {command[0]}: {error.strerror}", hint="run `cloister doctor`") from error
    if process.returncode != 0:
        raise SandboxError(f"{command[0]} failed: {process.stderr.decode(errors='replace').strip()}")
    return process.stdout.decode(errors="replace")
