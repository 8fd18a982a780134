"""Calls skopeo, which knows the registries' dialects and where credentials lie (containers-auth.json(5))."""

import platform
import subprocess
from pathlib import Path

import anyio

from cloister.errors import DiskFullError, HostError, SandboxError
from cloister.model.reference import ImageReference

MOST_BYTES = 32 << 30
"""Of all layers of an image together, as they are compressed, and of any file that skopeo writes."""
_POLICIES = ("/etc/containers/policy.json", "~/.config/containers/policy.json")
_SHOWN_BYTES = 2000


async def run_skopeo(command: str, *arguments: str, shown: str = "") -> bytes:
    """Return what skopeo printed; `shown` is what an error calls the image, by default the last but one argument.

    SandboxError with skopeo's own words; HostError without skopeo; DiskFullError.
    """
    options = () if _has_policy() else ("--insecure-policy",)
    bounds = ("setpriv", "--pdeathsig", "KILL", "--", "prlimit", f"--fsize={MOST_BYTES}", "--")
    call = (*bounds, "skopeo", *options, command, *arguments)
    try:
        done = await anyio.run_process(call, check=False, stdin=subprocess.DEVNULL)
    except OSError as error:
        raise HostError(f"cannot run {call[0]}: {error.strerror}", hint="run `cloister doctor`") from error
    said = done.stderr.decode(errors="replace").strip()[-_SHOWN_BYTES:]
    if done.returncode == 0:
        return done.stdout
    if "no space left on device" in said:
        raise DiskFullError("no space left to copy an image")
    if done.returncode == 127 or "failed to execute skopeo" in said:
        raise HostError("cannot copy an image: skopeo is not installed", hint="run `cloister doctor`")
    named = shown or arguments[-1 if command == "inspect" else -2]
    raise SandboxError(f"skopeo {command} {named} failed: {said}")


def tls_option(prefix: str, reference: ImageReference) -> str:
    """Return the option; said in both cases, or the host's registries.conf could allow plain HTTP to others."""
    verify = "false" if reference.on_loopback else "true"
    return f"--{prefix}tls-verify={verify}"


def architecture() -> str:
    """Return this machine's, as images name it."""
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


def _has_policy() -> bool:
    """Whether the host says whose signatures count: then that holds, else digests alone."""
    return any(Path(path).expanduser().exists() for path in _POLICIES)
