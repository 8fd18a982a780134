"""Lines of bash that provide a package manager which an image may lack."""

import shlex

TOOLS = "/opt/cloister-tools"
"""Where programs of automatic setup go that the image lacks: outside the work tree, and no part of the project."""


def debian_package(program: str, package: str) -> tuple[str, ...]:
    """Install the Debian package when the program is not there."""
    # Java's packages put links where slim images have no folder for manuals (Debian bug 863199).
    install = (
        "{ mkdir -p /usr/share/man/man1 && apt-get -qq update && "
        f"apt-get -qq -o Dpkg::Use-Pty=0 install --yes --no-install-recommends {package}; }}"
    )
    return (f"command -v {program} >/dev/null || {install} >&2",)


def npm_package(program: str, package: str) -> tuple[str, ...]:
    """Install the npm package when the program is not there."""
    return (f"command -v {program} >/dev/null || npm install --global --no-fund --no-audit {shlex.quote(package)}",)


def exact_npm_package(program: str, package: str, version: str) -> tuple[str, ...]:
    """Install exactly this version of the npm package, unless the program is of that version."""
    wanted = shlex.quote(version)
    install = f"npm install --global --force --no-fund --no-audit {shlex.quote(f'{package}@{version}')}"
    return (f'[ "$({program} --version 2>/dev/null)" = {wanted} ] || {install}',)


def python_program(program: str) -> tuple[str, ...]:
    """Install a Python program, in a virtual environment of its own, when it is not there."""
    venv = f"{TOOLS}/{program}"
    link = f"ln -sf {venv}/bin/{program} /usr/local/bin/{program}"
    install = f"{{ python3 -m venv {venv} && {venv}/bin/pip install -q {program} && {link}; }}"
    return (f"command -v {program} >/dev/null || {install}",)
