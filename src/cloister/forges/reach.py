"""Where a repository is that somebody from elsewhere named: looked up once, judged, and held to.

A server that fetches what it is told to fetch is a way into its network. So the host is looked up here; if any of its
addresses is not a public one's, and no setting opens it, nothing is fetched; and git is given what was found, so that
a second answer of the name server changes nothing. Redirects are followed nowhere (see `git.config`).
"""

import os
import socket
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

import anyio

from cloister.errors import DeniedError, RepositoryError
from cloister.git import PROXY_VARIABLES
from cloister.model.network import parse_host
from cloister.model.upstreams import GivenAddress

Address = IPv4Address | IPv6Address

_LOOK_UP_SECONDS = 20.0
_NOWHERE = "192.0.2.1"
"""Nobody's (RFC 5737): where what only a proxy can find is for a git that does not ask it."""
_PORTS = {"http": 80, "https": 443}


async def look_up_host(host: str, port: int) -> Sequence[Address]:
    """Ask the resolver of this machine. RepositoryError when it has no answer."""
    try:
        with anyio.fail_after(_LOOK_UP_SECONDS):
            answers = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise RepositoryError(f"the address of {host} was not found: {error}") from error
    except TimeoutError as error:
        raise RepositoryError(f"the address of {host} was not found within {_LOOK_UP_SECONDS:g} s") from error
    return list(dict.fromkeys(ip_address(answer[4][0]) for answer in answers))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """The rules of one installation."""

    classify: Callable[[Address], str | None]
    """Why an address is never reached; None for one that may be."""
    given: Mapping[str, GivenAddress] = field(default_factory=dict)
    """Where the operator says that single hosts are: these may be anywhere."""
    named: Collection[tuple[str, int]] = ()
    """Hosts and ports that the operator's settings name: these too, wherever the resolver says that they are."""
    what: str = "repository that a token names"
    """What is asked for there, in messages."""
    look_up: Callable[[str, int], Awaitable[Sequence[Address]]] = look_up_host
    """From host and port to all addresses. RepositoryError."""

    async def pin(self, url: str) -> Mapping[str, str]:
        """Return the variables under which git reaches the host of an http or https URL where it is now.

        A proxy of the operator's may know names that are not known here; past it, git then gets nowhere.
        DeniedError, RepositoryError.
        """
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
        try:
            found = await self.find(host, port)
        except RepositoryError:
            if not _may_be_proxied():
                raise
            found = [_NOWHERE]
        if _as_address(host) is not None:
            return {}  # it is what it says
        addresses = ",".join(f"[{address}]" if ":" in address else address for address in found)
        return {
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "http.curloptResolve",
            "GIT_CONFIG_VALUE_0": f"{host}:{port}:{addresses}",
        }

    async def check(self, host: str, port: int) -> None:
        """Raise DeniedError unless a host may be reached. A proxy of the operator's may know names that we do not.

        RepositoryError when it cannot be looked up.
        """
        try:
            await self.find(host, port)
        except RepositoryError:
            if not _may_be_proxied():
                raise

    async def find(self, host: str, port: int) -> Sequence[str]:
        """Return the addresses of a host, all of which may be reached. DeniedError, RepositoryError."""
        if (given := self.given.get(host.lower())) is not None:
            if given.port not in (None, port):
                raise DeniedError(f"{host} is at port {given.port} by upstream_addresses; name that one")
            return [given.address]
        if (host.lower(), port) in self.named:
            return [host] if _as_address(host) else [str(address) for address in await self.look_up(host, port)]
        if self._judge_written(host):
            return [host]
        found = await self.look_up(host, port)
        for address in found:
            self._judge(host, address)
        return [str(address) for address in found]

    def _judge_written(self, host: str) -> bool:
        """Judge an address; whether it is one. A name has to be one that no resolver takes for an address."""
        if (address := _as_address(host)) is not None:
            self._judge(host, address)
            return True
        try:
            if parse_host(host) != host:  # a dot at the end, which not everybody leaves there
                raise ValueError("it is not in its canonical form")  # noqa: TRY301
        except ValueError as error:
            raise DeniedError(f"a {self.what} at {host!r}: {error}") from error
        return False

    def _judge(self, host: str, address: Address) -> None:
        if (reason := self.classify(address)) is not None:
            which = "that address" if _as_address(host) else f"its address {address}"
            kind = "the server's own machine (loopback)" if address.is_loopback else reason
            raise DeniedError(f"no {self.what} may be at {host}: {which} is {kind}", hint=self._way_out(address))

    def _way_out(self, address: Address) -> str:
        if not address.is_loopback:
            return "settings of the server open networks (allow_private) and single hosts (upstream_addresses)"
        return "give the address that other machines reach; what lies on that machine is named there, by its path"


def _may_be_proxied() -> bool:
    return any(os.environ.get(name) for name in PROXY_VARIABLES)


def _as_address(host: str) -> Address | None:
    """Return the address that a host is; a zone (`fe80::1%eth0`) makes none."""
    try:
        return ip_address(host) if "%" not in host else None
    except ValueError:
        return None
