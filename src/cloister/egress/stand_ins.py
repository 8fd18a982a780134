"""Addresses that stand for names inside a sandbox: nothing is looked up until the policy has let the name through."""

import hashlib
from ipaddress import IPv4Address, IPv6Address

from cloister.egress.addresses import STAND_INS_4, STAND_INS_6, Address

MOST_NAMES = 4096
_PLACES = STAND_INS_4.num_addresses


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
        return STAND_INS_4[place], STAND_INS_6[place]

    def name(self, address: Address) -> str | None:
        """Return the name that the address stands for; None for one that stands for nothing."""
        for network in (STAND_INS_4, STAND_INS_6):
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
