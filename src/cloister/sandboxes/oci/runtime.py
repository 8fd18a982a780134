"""The OCI runtime that makes containers of bundles: found by a probe or named by a setting."""

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from cloister.errors import HostError
from cloister.sandboxes.oci.cgroup import CgroupLayout, find_layout
from cloister.sandboxes.oci.supervisor import sealed_copy

PREFERRED = ("crun", "runc")
"""In this order: crun starts a container in a third of runc's time."""
_ELF = b"\x7fELF"


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """A runtime, and how to call it on this host."""

    path: Path
    name: str
    version: str
    root: Path
    """Where it keeps its own state; on tmpfs."""
    hide: tuple[str, ...] = ()
    """Mount points that it must not see."""

    def seal(self) -> int | None:
        """Return a descriptor of the program that nobody can write to; None for one that would not know it.

        No container shall be able to change the program that starts the next one (CVE-2019-5736). So crun and runc make
        such a copy of themselves at every start, and start anew from it, unless they were started from one.
        """
        with self.path.open("rb") as file:
            is_program = file.read(len(_ELF)) == _ELF  # and no script around it
        return sealed_copy(str(self.path)) if is_program and self.name in PREFERRED else None

    def run(self, directory: Path, container: str, *, terminal: bool = False) -> list[str]:
        """The command that starts the bundle in `directory`, leaves init's pid in `init-pid` and returns.

        Our end of its terminal is sent to the socket `console`, which has to be listened at.
        """
        return [
            *self._call(log=directory / "runtime.log"),
            *("run", "--detach", "--bundle", str(directory), "--pid-file", str(directory / "init-pid")),
            *(("--console-socket", str(directory / "console")) if terminal else ()),
            container,
        ]

    def enter(self, directory: Path, container: str) -> list[str]:
        """The command that starts the process of `directory`/process.json in a running container, and returns.

        It leaves the process's pid in `pid`; our end of its terminal is sent to the socket `console`. It is called in
        the container's network namespace, with the state that `state_to_enter` is about.
        """
        root = self.root if self.state_to_enter(container) is None else directory / "state"
        return [
            *self._call(log=directory / "runtime.log", root=root),
            *("exec", "--detach", "--process", str(directory / "process.json")),
            *("--pid-file", str(directory / "pid"), "--console-socket", str(directory / "console")),
            container,
        ]

    def state_to_enter(self, container: str) -> Path | None:
        """Return runc's account of a container, which it needs in another form to enter; None for other runtimes.

        It joins the user namespace first, and may not join the network's then, which belongs to the host's.
        """
        return self.root / container / "state.json" if self.name == "runc" else None

    def delete(self, container: str) -> list[str]:
        """The command that removes a container, killing it first when it lives."""
        return [*self._call(), "delete", "--force", container]

    def _call(self, log: Path | None = None, root: Path | None = None) -> list[str]:
        return [str(self.path), "--root", str(root or self.root), *(("--log", str(log)) if log else ())]


def find_runtime(wanted: str, root: Path) -> Runtime:
    """Return the runtime that `wanted` names (a program's name or path), or for `auto` the first that works.

    HostError when there is none.
    """
    names = PREFERRED if wanted == "auto" else (wanted,)
    for name in names:
        if path := shutil.which(name):
            return _describe(Path(path), root)
    raise HostError(f"no OCI runtime found (looked for {', '.join(names)})", hint="cloister doctor")


def _describe(path: Path, root: Path) -> Runtime:
    answer = subprocess.run([path, "--version"], capture_output=True, text=True, check=False, timeout=10)
    found = re.match(r"(\S+) version (\S+)", answer.stdout)
    if answer.returncode != 0 or found is None:
        raise HostError(f"{path} does not answer as an OCI runtime: {answer.stderr.strip()}", hint="cloister doctor")
    # crun 1.8 takes a host with both hierarchies for one it cannot serve; without sight of the second it works.
    hybrid = found[1] == "crun" and find_layout() is CgroupLayout.HYBRID
    hide = ("/sys/fs/cgroup/unified",) if hybrid else ()
    return Runtime(path=path, name=found[1], version=found[2], root=root, hide=hide)
