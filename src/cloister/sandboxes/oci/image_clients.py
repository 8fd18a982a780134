"""Which package registries an image's own package clients are configured with: they are asked while it is built."""

from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import structlog
from publicsuffixlist import PublicSuffixList

from cloister.model.network import parse_host
from cloister.sandboxes.oci.image_inside import run_inside

_ANSWER_SECONDS = 30.0
_MOST_REGISTRIES = 32

# What is not installed prints nothing. `sed` takes the addresses out of pip's `global.index-url='...'`.
_ASK = """
exec 2>/dev/null
pip config list | sed -n "s/^[^=]*index-url='\\(.*\\)'$/\\1/p"
npm config get registry
apt-get indextargets --no-release-info --format '$(SITE)'
go env GOPROXY | tr ',|' '  '
gem sources --list
"""
_log = structlog.get_logger(__name__)


async def registries_in(root: Path) -> tuple[str, ...]:
    """Return the hosts that pip, npm, apt, Go and gem in the tree `root` are configured with.

    They run shut in, in a tree that they cannot change. Clients that fail, are silent for long, or name what nobody
    should be allowed, add nothing.
    """
    try:
        with anyio.fail_after(_ANSWER_SECONDS):
            asked = await run_inside(root, ("/bin/sh", "-c", _ASK), variables={"HOME": "/root"})
    except (OSError, TimeoutError) as error:
        _log.warning("the package clients of an image do not say which registries they use", error=str(error))
        return ()
    return tuple(islice(dict.fromkeys(_hosts("\n".join(asked.lines))), _MOST_REGISTRIES))


def _hosts(answer: str) -> Iterator[str]:
    """Yield the hosts of the web addresses among the words, without those that are too broad to be allowed."""
    suffixes = PublicSuffixList()
    for word in answer.split():
        with suppress(ValueError):
            parts = urlsplit(word)
            host = parse_host(parts.hostname or "") if parts.scheme in ("http", "https") else ""
            if "." in host and not suffixes.is_public(host):
                yield host
