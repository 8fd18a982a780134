"""Where a repository behind ssh is that somebody from elsewhere named."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import anyio

from cloister.errors import RepositoryError
from cloister.forges.reach import Reach
from cloister.forges.ssh import ssh_command
from cloister.model.ssh_address import SshAddress

_SSH_PORT = 22
_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)\.?|.*:.*", re.IGNORECASE)
"""An address, in one of its forms: ssh writes `127.1` anew, which no configuration said."""


async def pinned_options(address: SshAddress, reach: Reach, config: Path | None) -> Sequence[str]:
    """Return the options under which ssh reaches the host where it is now. DeniedError, RepositoryError.

    None where ssh's own configuration says where a host is, or how to get there: its owner wrote that.
    """
    said = await _configuration(address, config)
    jumps = (said.get("proxyjump", "none"), said.get("proxycommand", "none"))
    is_elsewhere = said.get("hostname", "").lower() != address.host.lower() or jumps != ("none", "none")
    if is_elsewhere and not _NUMBER.fullmatch(address.host):
        return ()
    port = int(said.get("port", _SSH_PORT))
    found = await reach.find(address.host, port)
    known_as = address.host if port == _SSH_PORT else f"[{address.host}]:{port}"
    alias = said.get("hostkeyalias", "none")
    return (
        f"-oHostName={found[0]}",
        f"-oHostKeyAlias={known_as if alias == 'none' else alias}",
        "-oCanonicalizeHostname=no",
    )


async def _configuration(address: SshAddress, config: Path | None) -> Mapping[str, str]:
    """Return what ssh would do, as `ssh -G` says; it connects nowhere."""
    port = () if address.port is None else ("-p", str(address.port))
    user = () if address.user is None else ("-l", address.user)
    command = [*ssh_command(config), "-G", *port, *user, "--", address.host]
    done = await anyio.run_process(command, check=False)
    if done.returncode != 0:
        raise RepositoryError(f"ssh cannot say where {address.host} is: {done.stderr.decode(errors='replace').strip()}")
    lines = (line.partition(" ") for line in done.stdout.decode(errors="replace").splitlines())
    return {name.lower(): value.strip() for name, _, value in reversed(list(lines))}
