"""How git gets to a repository behind ssh: with the keys, the agent and the known hosts of whoever called Cloister."""

import os
import pwd
import re
import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from cloister.errors import CloisterError, HostError, RepositoryError
from cloister.git import PROGRAMS_PATH, last_lines
from cloister.model.ssh_address import SshAddress

# ssh takes the first value that it is given, so these win over the user's configuration, which says the rest: names of
# hosts, keys, jumps. It asks nobody, trusts no host that is not known, lends nothing to the host, and leaves no
# connection behind, which would hold our pipes.
_OPTIONS: Mapping[str, str] = {
    "BatchMode": "yes",
    "StrictHostKeyChecking": "yes",
    "UpdateHostKeys": "no",
    "ConnectTimeout": "20",
    "ServerAliveInterval": "20",
    "ServerAliveCountMax": "3",
    "ForwardAgent": "no",
    "ForwardX11": "no",
    "ClearAllForwardings": "yes",
    "Tunnel": "no",
    "PermitLocalCommand": "no",
    "RemoteCommand": "none",
    "RequestTTY": "no",
    "ControlMaster": "no",
    "LogLevel": "ERROR",
}
_CHANGED = re.compile(r"REMOTE HOST IDENTIFICATION HAS CHANGED")
_REVOKED = re.compile(r"marked as revoked|REVOKED HOST KEY")
_UNKNOWN = re.compile(r"host key is known for|Host key verification failed")
_DENIED = re.compile(r"Permission denied \(|Too many authentication failures")
_UNREAD = "fatal: Could not read from remote repository."


def ssh_transport(config: Path | None, options: Sequence[str] = ()) -> Mapping[str, str]:
    """Return the variables under which git fetches by ssh, and by nothing else. HostError when there is no ssh."""
    if shutil.which("ssh", path=PROGRAMS_PATH) is None:
        raise HostError("ssh is not installed", hint="install it: apt-get install openssh-client")
    agent = os.environ.get("SSH_AUTH_SOCK")
    return {
        "GIT_ALLOW_PROTOCOL": "ssh",
        "GIT_SSH_COMMAND": shlex.join([*ssh_command(config), *options]),
        "GIT_SSH_VARIANT": "ssh",
        **({"SSH_AUTH_SOCK": agent} if agent else {}),
    }


def ssh_command(config: Path | None) -> Sequence[str]:
    """Return the command line that git completes by port, host and what to run there."""
    options = [f"-o{name}={value}" for name, value in _OPTIONS.items()]
    return [*_as_caller(), "ssh", *(() if config is None else ("-F", str(config))), *options]


def _as_caller() -> Sequence[str]:
    """Under sudo, become who called it: theirs are the keys, and ssh reads no configuration that others own."""
    caller = os.environ.get("SUDO_UID", "")
    uid = int(caller) if os.geteuid() == 0 and caller.isascii() and caller.isdigit() else os.geteuid()
    try:
        user = pwd.getpwuid(uid)
    except KeyError:
        return ()
    surroundings = ("env", f"HOME={user.pw_dir}", f"USER={user.pw_name}", f"LOGNAME={user.pw_name}")
    if uid == os.geteuid():
        return surroundings
    return ("setpriv", f"--reuid={uid}", f"--regid={user.pw_gid}", "--init-groups", *surroundings)


def ssh_refusal(address: SshAddress, stderr: str) -> CloisterError | None:
    """Say what kept ssh from getting there; None when it did get there, and the other git refused."""
    if _CHANGED.search(stderr) or _REVOKED.search(stderr):
        return RepositoryError(
            f"the host key of {address.host} is not the one that is known: this may be another machine",
            hint=f"only if its owner says that it changed: ssh-keygen -R {_known_as(address)}; ssh {address.login}",
        )
    if _UNKNOWN.search(stderr):
        return RepositoryError(
            f"the host key of {address.host} is not known here",
            hint=f"compare its fingerprint, and say yes once: ssh {address.login}",
        )
    if _DENIED.search(stderr):
        return RepositoryError(
            f"{address.host} accepts no key that Cloister has: {last_lines(_words_of_ssh(stderr))}",
            hint=f"try it by hand: ssh -T -o BatchMode=yes {address.login}",
        )
    words = last_lines(_words_of_ssh(stderr))
    if words.startswith(("ssh: ", "Connection ")):
        return RepositoryError(f"{address.host} cannot be reached: {words.removeprefix('ssh: ')}")
    return None


def _known_as(address: SshAddress) -> str:
    return address.host if address.port in (None, 22) else f"'[{address.host}]:{address.port}'"


def _words_of_ssh(stderr: str) -> str:
    return stderr.partition(_UNREAD)[0]
