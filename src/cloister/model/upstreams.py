"""How the operator of an installation has upstreams reached: through a company's proxy, or at addresses set by hand."""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import unquote_to_bytes

from cloister.model.network import host_matches, parse_host
from cloister.model.secret import SecretValue

_PROXY = re.compile(r"http://(?:([^@/?#]*)@)?([^@/?#]+)/?")
_AUTHORITY = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:\[\]]+))(?::([0-9]{1,5}))?")
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
_HIGHEST_PORT = 2**16 - 1

_NEVER_PUBLIC = (
    *("localhost", "local", "onion", "invalid", "test", "alt", "home.arpa"),  # RFC 6761, 6762, 7686, 8375, 9476
    *("intranet", "internal", "private", "corp", "home", "lan", "localdomain"),  # RFC 6762, appendix G
    *("svc", "metadata.goog", "metadata.tencentyun.com"),  # Kubernetes, and clouds' metadata services
)


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamProxy:
    """An HTTP proxy between this machine and the internet."""

    host: str
    """Canonical: a name, or the shortest form of an address."""
    port: int
    credentials: SecretValue | None = None
    """`user:password`, as basic authentication joins them (RFC 7617)."""

    @property
    def authorization(self) -> SecretValue | None:
        """The value of `Proxy-Authorization`, None without credentials."""
        if self.credentials is None:
            return None
        return SecretValue("Basic " + base64.b64encode(self.credentials.reveal().encode()).decode())

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectHosts:
    """One entry of `no_proxy`: hosts that are reached without the proxy."""

    what: str
    """`*`, a domain with its sub-domains, or the addresses of a network, where they are asked for as addresses."""
    port: int | None = None
    """None is every port."""

    def hold(self, host: str, port: int) -> bool:
        """Whether a canonical host is among them at that port."""
        if self.port not in (None, port):
            return False
        network = _find_network(self.what)
        if network is None:
            return self.what == "*" or host_matches(host, (self.what,)) is not None
        address = _find_address(host)
        return address is not None and address in network

    def __str__(self) -> str:
        if self.port is None:
            return self.what
        shown = self.what.partition("/")[0]
        return f"[{shown}]:{self.port}" if ":" in shown else f"{shown}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenAddress:
    """Where one host is, as the operator says."""

    address: str
    port: int | None = None
    """In place of every port that is asked for; None changes none."""

    def __str__(self) -> str:
        if self.port is None:
            return self.address
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstreams:
    """The way to every host. The default is the addresses of its name, and no proxy."""

    proxy: UpstreamProxy | None = None
    direct: tuple[DirectHosts, ...] = ()
    addresses: Mapping[str, GivenAddress] = field(default_factory=dict)
    """By canonical host name, which stands for no sub-domains. These hosts are reached without the proxy."""

    def proxy_for(self, host: str, port: int) -> UpstreamProxy | None:
        """Return the proxy that leads to a canonical host, None where there is none in between."""
        if host in self.addresses or any(hosts.hold(host, port) for hosts in self.direct):
            return None
        return self.proxy


def parse_upstream_proxy(text: str) -> UpstreamProxy:
    """Return `http://[user:password@]host:port`; user and password are percent-decoded.

    Raises ValueError, whose message quotes nothing of the text: a misplaced character could put the password anywhere.
    """
    found = _PROXY.fullmatch(text)
    split = _AUTHORITY.fullmatch(found[2]) if found else None
    if found is None or split is None or split[3] is None:
        raise ValueError(
            "must be http://host:port or http://user:password@host:port; in user and password, write characters such "
            "as @ : / ? # % as %40 %3A %2F %3F %23 %25"
        )
    try:
        host, port = _canonical(split[1] or split[2]), _port(split[3])
    except ValueError:
        raise ValueError("has no valid host and port after the user and password") from None
    return UpstreamProxy(host=host, port=port, credentials=_credentials(found[1]))


def parse_direct_hosts(text: str) -> DirectHosts:
    """Return an entry of `no_proxy`: `*`, a domain, an address or a network; all but networks may have a port.

    A domain stands for its sub-domains, with a leading dot or `*.` or without. ValueError with the reason.
    """
    if text == "*":
        return DirectHosts(what=text)
    if "/" in text or _find_address(text) is not None:
        return DirectHosts(what=str(ip_network(text)))
    split = _AUTHORITY.fullmatch(text)
    if split is None:
        raise ValueError(f"{text!r} is not a domain, an address or a network")
    port = None if split[3] is None else _port(split[3])
    name = (split[1] or split[2]).removeprefix("*").removeprefix(".")
    return DirectHosts(what=parse_host(name) if _find_address(name) is None else str(ip_network(name)), port=port)


def parse_given_address(text: str) -> GivenAddress:
    """Return `address`, `address:port` or `[address]:port`. ValueError with the reason."""
    if (alone := _find_address(text)) is not None:
        return GivenAddress(address=str(alone))
    split = _AUTHORITY.fullmatch(text)
    address = None if split is None else _find_address(split[1] or split[2])
    if split is None or address is None:
        raise ValueError(
            f"{text!r} is not an address, or an address with a port such as 10.0.0.5:8443 or [fd00::5]:8443"
        )
    return GivenAddress(address=str(address), port=None if split[3] is None else _port(split[3]))


def is_never_public(host: str) -> bool:
    """Whether a canonical name is one that means something inside of a network alone."""
    return "." not in host or host_matches(host, _NEVER_PUBLIC) is not None


def _canonical(host: str) -> str:
    address = _find_address(host)
    return parse_host(host) if address is None else str(address)


def _credentials(text: str | None) -> SecretValue | None:
    if not text:
        return None
    user, _, password = text.partition(":")
    decoded_user, decoded_password = unquote_to_bytes(user), unquote_to_bytes(password)
    if b":" in decoded_user:
        raise ValueError("has a user name with a colon, which basic authentication cannot carry")
    joined = decoded_user + b":" + decoded_password
    if _CONTROL.search(joined):
        raise ValueError("has a control character in user or password")
    try:
        return SecretValue(joined.decode())
    except UnicodeDecodeError:
        raise ValueError("has a user or password that is not UTF-8") from None


def _find_address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text) if "%" not in text else None  # no zones
    except ValueError:
        return None


@lru_cache
def _find_network(text: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(text)
    except ValueError:
        return None


def _port(text: str) -> int:
    port = int(text)
    if not 0 < port <= _HIGHEST_PORT:
        raise ValueError(f"{text} is not a port from 1 to {_HIGHEST_PORT}")
    return port
