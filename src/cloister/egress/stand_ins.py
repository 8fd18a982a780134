"""Addresses that stand for names inside a sandbox: nothing is looked up until the policy has let the name through."""

import hashlib
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from cloister.egress.addresses import Address

MOST_NAMES = 4096
_RANGE_4 = IPv4Network("198.18.0.0/15")
"""For benchmarks (RFC 2544), so nobody's; the proxy never dials it."""
_RANGE_6 = IPv6Network("fd63:6c6f::/32")
"""Unique local addresses (RFC 4193)."""
_PLACES = _RANGE_4.num_addresses


class StandIns:
    """The names that one sandbox asked for, each with an address of either family; the oldest are forgotten."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}
        self._names: dict[int, str] = {}

    def addresses(self, name: str) -> tuple[IPv4Address, IPv6Address]:
        """Return the name's addresses: the same each time, and after a restart too as far as two do not collide."""
        place = self._places.pop(name, None)
        if place is None:
            place = self._find_place(name)
            self._names[place] = name
            self._forget_oldest()
        self._places[name] = place  # the youngest now
        return _RANGE_4[place], _RANGE_6[place]

    def name(self, address: Address) -> str | None:
        """Return the name that the address stands for; None for one that stands for nothing."""
        for network in (_RANGE_4, _RANGE_6):
            if address in network:
                return self._names.get(int(address) - int(network.network_address))
        return None

    def _find_place(self, name: str) -> int:
        digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
        place = int.from_bytes(digest, "big") % _PLACES
        while place in self._names:
            place = (place + 1) % _PLACES
        return place

    def _forget_oldest(self) -> None:
        if len(self._places) >= MOST_NAMES:
            oldest = next(iter(self._places))
            del self._names[self._places.pop(oldest)]
