"""Signs commits: with an ssh key, or with a GPG key in a keyring that is there for this one commit."""

import re
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, PIPE, CompletedProcess
from tempfile import TemporaryDirectory

import anyio

from cloister.errors import HostError
from cloister.git import PROGRAMS_PATH

_SECONDS = 30.0
_FINGERPRINT = re.compile(rb"^fpr:(?:[^:]*:){8}([0-9A-F]{40,64}):", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitSigner:
    """What a server signs with: one of these, or nothing."""

    ssh_key: Path | None = None
    """A private ssh key, without passphrase."""
    gpg_key: Path | None = None
    """A private GPG key as `gpg --export-secret-keys` writes it, without passphrase."""

    @property
    def key(self) -> Path | None:
        """The file that is used."""
        return self.ssh_key or self.gpg_key

    @asynccontextmanager
    async def variables(self) -> AsyncIterator[Mapping[str, str]]:
        """Yield the variables under which `git commit-tree -S` signs. HostError when the key is of no use.

        Of GPG nothing is left: no keyring, no agent.
        """
        if self.ssh_key is not None:
            yield _settings({"gpg.format": "ssh", "user.signingKey": str(self.ssh_key)})
        elif self.gpg_key is not None:
            with TemporaryDirectory(prefix="cloister-gpg-") as home:  # which only its maker enters
                try:
                    fingerprint = await _import(self.gpg_key, home)
                    yield {
                        **_settings({"gpg.format": "openpgp", "user.signingKey": f"{fingerprint}!"}),
                        "GNUPGHOME": home,
                    }
                finally:
                    with anyio.CancelScope(shield=True):
                        await _run(["gpgconf", "--kill", "all"], home)
        else:
            yield {}


async def _import(key: Path, home: str) -> str:
    """Return the fingerprint of the key, once it is in the keyring."""
    if shutil.which("gpg", path=PROGRAMS_PATH) is None:
        raise HostError("gpg is not installed", hint="install it: apt-get install gnupg")
    _check_private(key)
    imported = await _run(["gpg", "--batch", "--quiet", "--import", "--", str(key)], home)
    listed = await _run(["gpg", "--batch", "--list-secret-keys", "--with-colons"], home)
    found = _FINGERPRINT.search(listed.stdout)
    if found is None:
        said = imported.stderr.decode(errors="replace").strip().splitlines()
        raise HostError(
            f"{key} has no private GPG key: {said[-1] if said else 'nothing was imported'}",
            hint="write it with: gpg --export-secret-keys --armor KEY",
        )
    return found[1].decode()


def _check_private(key: Path) -> None:
    try:
        mode = key.stat().st_mode
    except OSError as error:
        raise HostError(f"the key that signs commits cannot be read: {error}") from error
    if mode & 0o077:
        raise HostError(f"others on this machine may use {key}, which signs commits", hint=f"chmod go= {key}")


async def _run(command: Sequence[str], home: str) -> "CompletedProcess[bytes]":
    environment = {"PATH": PROGRAMS_PATH, "HOME": home, "GNUPGHOME": home, "LC_ALL": "C.UTF-8"}
    try:
        with anyio.fail_after(_SECONDS):
            return await anyio.run_process(
                command, env=environment, check=False, stdin=DEVNULL, stdout=PIPE, stderr=PIPE
            )
    except TimeoutError as error:
        raise HostError(f"{command[0]} did not end within {_SECONDS:g} s") from error


def _settings(settings: Mapping[str, str]) -> Mapping[str, str]:
    variables = {"GIT_CONFIG_COUNT": str(len(settings))}
    for number, (key, value) in enumerate(settings.items()):
        variables |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return variables
