"""What is never reachable: every address that is not plainly a public host's."""

from collections.abc import Collection, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# `ipaddress.is_global` is not this list: it says True for NAT64, 6to4, ::127.0.0.1 and multicast.
# Sources: the IANA special-purpose registries of IPv4 and IPv6 (RFC 6890), and the clouds' own pages
# for metadata services. The first row that holds an address gives the reason.
_METADATA = (
    "169.254.169.254/32",  # most clouds
    "169.254.170.2/32",  # container credentials of AWS
    "169.254.170.23/32",  # pod identities of AWS
    "100.100.100.200/32",  # Alibaba
    "168.63.129.16/32",  # Azure: a public address, answered by the hypervisor
    "192.0.0.192/32",  # Oracle
    "fd00:ec2::254/128",  # AWS
    "fd00:ec2::23/128",  # AWS
    "fd20:ce::254/128",  # Google
)
_PRIVATE = (
    ("10.0.0.0/8", "private (RFC 1918)"),
    ("172.16.0.0/12", "private (RFC 1918)"),
    ("192.168.0.0/16", "private (RFC 1918)"),
    ("100.64.0.0/10", "shared by carriers (RFC 6598)"),
    ("fc00::/7", "unique local (RFC 4193)"),
    # Routed nowhere in public, so closed networks use them like private ones.
    ("192.0.2.0/24", "documentation (RFC 5737)"),
    ("198.51.100.0/24", "documentation (RFC 5737)"),
    ("203.0.113.0/24", "documentation (RFC 5737)"),
)
_NEVER = (
    ("0.0.0.0/8", "this host (RFC 791)"),
    ("127.0.0.0/8", "loopback"),
    ("169.254.0.0/16", "link-local"),
    ("192.0.0.0/24", "reserved for protocols (RFC 6890)"),
    ("192.31.196.0/24", "AS112 (RFC 7535)"),
    ("192.52.193.0/24", "AMT (RFC 7450)"),
    ("192.88.99.0/24", "6to4 relay (RFC 7526)"),
    ("192.175.48.0/24", "AS112 (RFC 7534)"),
    ("198.18.0.0/15", "benchmarking (RFC 2544)"),
    ("224.0.0.0/4", "multicast"),
    ("240.0.0.0/4", "reserved"),
    ("::/128", "unspecified"),
    ("::1/128", "loopback"),
    ("::ffff:0:0/96", "an IPv4-mapped address"),
    ("::ffff:0:0:0/96", "an IPv4-translated address (RFC 2765)"),
    ("::/96", "an IPv4-compatible address"),
    ("64:ff9b::/96", "NAT64 (RFC 6052)"),
    ("64:ff9b:1::/48", "NAT64 (RFC 8215)"),
    ("100::/64", "discard-only (RFC 6666)"),
    ("2001::/32", "Teredo"),
    ("2001::/23", "reserved for protocols (RFC 2928)"),
    ("2001:db8::/32", "documentation"),
    ("2002::/16", "6to4"),
    ("2620:4f:8000::/48", "AS112 (RFC 7534)"),
    ("3fff::/20", "documentation"),
    ("5f00::/16", "segment routing (RFC 9602)"),
    ("fe80::/10", "link-local"),
    ("fec0::/10", "site-local"),
    ("ff00::/8", "multicast"),
)
STAND_INS_4 = IPv4Network("198.18.0.0/15")
"""What names have as addresses inside sandboxes (see `stand_ins`): for benchmarks (RFC 2544), so nobody's."""
STAND_INS_6 = IPv6Network("fd63:6c6f::/32")
"""Their other family: unique local addresses (RFC 4193), and the part of them that no setting opens.

A program may still hold one whose name was forgotten; dialled as it is, it would lead to a stranger.
"""
_GLOBAL_UNICAST = IPv6Network("2000::/3")

_METADATA_NETWORKS = tuple(ip_network(text) for text in _METADATA)
_PRIVATE_NETWORKS = tuple((ip_network(text), reason) for text, reason in _PRIVATE)
_NEVER_NETWORKS = tuple((ip_network(text), reason) for text, reason in _NEVER)


def is_address(host: str) -> bool:
    """Whether a canonical host is an address, not a name."""
    if ":" not in host and not host.rpartition(".")[2].isdigit():
        return False  # at once: most hosts are names, and an exception takes long
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def classify(
    address: Address,
    allow_private: Sequence[Network] = (),
    own: Collection[Address] = frozenset(),
    *,
    of_registry: bool = False,
) -> str | None:
    """Return why `address` is never dialled, or None for a public one.

    `own` are this machine's addresses, public ones too: its services may be closed to the outside, but not
    to itself. `allow_private` opens the private ranges and own addresses that it covers; no setting opens
    metadata services, loopback, link-local or any address that stands for another one. `of_registry`, for
    the address of a registry that this host is configured with, opens all private ranges, but none of `own`.
    """
    found = _find_closed_range(address)
    is_opened = any(address in network for network in allow_private)
    match found:
        case reason, True:
            return None if is_opened or (of_registry and address not in own) else reason
        case reason, False:
            return reason
    return "this machine's own" if address in own and not is_opened else None


def classify_own(address: Address) -> str | None:
    """Return why an address is never dialled although the operator himself wrote it down as a model's; None when it is.

    Loopback and private ranges are what such a setting is for; nothing opens the rest of the list.
    """
    return None if address.is_loopback else classify(address, (ip_network(address),))


@lru_cache(maxsize=4096)
def _find_closed_range(address: Address) -> tuple[str, bool] | None:
    """Return why the range that holds the address is closed, and whether it is a private one; None for a public one.

    Remembered, for the ranges never change; what does (settings, own addresses) is looked at each time.
    """
    if any(address in network for network in _METADATA_NETWORKS):
        return "a cloud's metadata service", False
    if address in STAND_INS_6:
        return "it stands for a name inside sandboxes", False
    for network, reason in _PRIVATE_NETWORKS:
        if address in network:
            return reason, True
    for network, reason in _NEVER_NETWORKS:
        if address in network:
            return reason, False
    if isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST:
        return "reserved", False
    return None
