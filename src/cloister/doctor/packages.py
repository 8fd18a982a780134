"""Installs Debian packages and raises kernel settings, as root or through sudo."""

import os
import shutil
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import anyio

from cloister.errors import HostError

POLICY = Path("/usr/sbin/policy-rc.d")
_STANDARD_ERROR = 2

# While policy-rc.d says 101, packages start no services (Debian policy, 9.3.3). One that is there is somebody else's,
# and `set -C` leaves it. Variables are exported here, because sudo drops those of its caller.
_INSTALL = r"""
set -eu
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
policy=$1
shift
if (set -C; printf '#!/bin/sh\nexit 101\n' >"$policy") 2>/dev/null; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 130' HUP INT TERM
    chmod 755 "$policy"
fi
apt-get update -qq || echo "the lists of packages could not be renewed; those that are here are used" >&2
apt-get install -qq --yes --no-upgrade --no-install-recommends -o DPkg::Lock::Timeout=120 -- "$@" >/dev/null
"""


async def installed_packages(names: Collection[str]) -> frozenset[str]:
    """Return which of these are installed; none where there is no dpkg."""
    if not names:
        return frozenset()
    command = ["dpkg-query", "--show", r"--showformat=${db:Status-Status} ${Package}\n", "--", *names]
    try:
        answer = await anyio.run_process(command, check=False)
    except FileNotFoundError:
        return frozenset()
    lines = (line.partition(" ") for line in answer.stdout.decode().splitlines())
    return frozenset(package for status, _, package in lines if status == "installed")


async def install(packages: Sequence[str], *, policy: Path = POLICY) -> Sequence[str]:
    """Install packages and start no service; return those that are not installed afterwards.

    What apt says goes to standard error. Packages that are there stay as they are. Raises HostError when there is
    no apt, or no way to become root.
    """
    if shutil.which("apt-get") is None:
        raise HostError("there is no apt-get", hint=f"install these yourself: {' '.join(packages)}")
    await _run_as_root("sh", "-c", _INSTALL, "sh", str(policy), *packages)
    done = await installed_packages(packages)
    return [package for package in packages if package not in done]


async def raise_sysctls(least: Mapping[str, int], *, proc: Path = Path("/proc/sys")) -> Sequence[str]:
    """Raise kernel settings until the machine restarts; return those that are lower or absent afterwards.

    None is lowered. Raises HostError when there is no way to become root.
    """
    low = {name: value for name, value in least.items() if _value(proc, name) < value}
    there = [f"{name}={value}" for name, value in low.items() if _file(proc, name).exists()]
    if there:
        await _run_as_root("sysctl", "-q", "-w", *there)
    return [name for name, value in low.items() if _value(proc, name) < value]


def _file(proc: Path, name: str) -> Path:
    return proc / name.replace(".", "/")


def _value(proc: Path, name: str) -> int:
    try:
        return int(_file(proc, name).read_text())
    except (OSError, ValueError):
        return -1


async def _run_as_root(*command: str) -> None:
    """Run it with its output on our standard error; what it achieved is for the caller to look at."""
    prefix: tuple[str, ...] = ()
    if os.geteuid() != 0:
        if shutil.which("sudo") is None:
            raise HostError("this needs root, and there is no sudo", hint="run it as root: cloister doctor --fix")
        # Without a terminal there is nobody to type a password.
        prefix = ("sudo",) if sys.stdin.isatty() else ("sudo", "--non-interactive")
    try:
        await anyio.run_process([*prefix, *command], stdin=None, stdout=_STANDARD_ERROR, stderr=None, check=False)
    except FileNotFoundError as error:
        raise HostError(f"there is no {command[0]}", hint="see: cloister doctor") from error
