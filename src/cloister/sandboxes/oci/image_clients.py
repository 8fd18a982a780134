"""Which package registries an image's own package clients are configured with: they are asked while it is built."""

import subprocess
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import structlog
from publicsuffixlist import PublicSuffixList

from cloister.model.network import parse_host

_ANSWER_SECONDS = 30.0
_MOST_REGISTRIES = 32
_LARGEST_ANSWER_BYTES = 64 * 1024

# What is not installed prints nothing. `sed` takes the addresses out of pip's `global.index-url='...'`.
_ASK = """
cd /
pip config list | sed -n "s/^[^=]*index-url='\\(.*\\)'$/\\1/p"
npm config get registry
apt-get indextargets --no-release-info --format '$(SITE)'
go env GOPROXY | tr ',|' '  '
gem sources --list
"""
# Read-only, for what clients leave behind (caches, logs) would be part of the image.
_ENTER = """
mount --bind "$0" "$0"
mount -o remount,bind,ro "$0"
mount -t tmpfs tmpfs "$0/tmp"
exec chroot "$0" "$@"
"""
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SHUT_IN = ("unshare", "--mount", "--pid", "--net", "--ipc", "--uts", "--fork", "--kill-child", "--")

_log = structlog.get_logger(__name__)


async def registries_in(root: Path) -> tuple[str, ...]:
    """Return the hosts that pip, npm, apt, Go and gem in the tree `root` are configured with.

    They run in the tree without a network. It must be one that we have just made of trusted packages: what runs in it
    is root. Clients that fail, are silent for long, or name what nobody should be allowed, add nothing.
    """
    inside = ("/usr/bin/env", "-i", f"PATH={_PATH}", "HOME=/root", "/bin/sh", "-c", _ASK)
    command = ("setpriv", "--pdeathsig", "KILL", "--", *_SHUT_IN, "/bin/sh", "-ec", _ENTER, str(root), *inside)
    try:
        with anyio.fail_after(_ANSWER_SECONDS):
            asked = await anyio.run_process(command, check=False, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    except (OSError, TimeoutError) as error:
        _log.warning("the package clients of an image do not say which registries they use", error=str(error))
        return ()
    answer = asked.stdout[:_LARGEST_ANSWER_BYTES].decode(errors="replace")
    return tuple(islice(dict.fromkeys(_hosts(answer)), _MOST_REGISTRIES))


def _hosts(answer: str) -> Iterator[str]:
    """Yield the hosts of the web addresses among the words, without those that are too broad to be allowed."""
    suffixes = PublicSuffixList()
    for word in answer.split():
        with suppress(ValueError):
            parts = urlsplit(word)
            host = parse_host(parts.hostname or "") if parts.scheme in ("http", "https") else ""
            if "." in host and not suffixes.is_public(host):
                yield host
