import json
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister.egress.addresses import classify
from cloister.egress.interfaces import own_addresses
from cloister.egress.stand_ins import StandIns

VECTORS = json.loads(Path(__file__).with_name("addresses.json").read_text())
EVERYTHING = (ip_network("0.0.0.0/0"), ip_network("::/0"))


def is_private(vector: dict[str, str]) -> bool:
    return any(word in vector["reason"] for word in ("private", "carriers", "unique local", "RFC 5737"))


@pytest.mark.parametrize("vector", VECTORS["never"], ids=lambda vector: vector["address"])
def test_what_is_never_reached_says_why(vector: dict[str, str]) -> None:
    assert vector["reason"] in (classify(ip_address(vector["address"])) or "it is public")


@pytest.mark.parametrize("address", VECTORS["public"])
def test_a_public_address_is_reached(address: str) -> None:
    assert classify(ip_address(address)) is None


@pytest.mark.parametrize("vector", VECTORS["never"], ids=lambda vector: vector["address"])
def test_a_setting_opens_private_ranges_and_nothing_else(vector: dict[str, str]) -> None:
    assert (classify(ip_address(vector["address"]), EVERYTHING) is None) == is_private(vector)


@pytest.mark.parametrize("vector", VECTORS["never"], ids=lambda vector: vector["address"])
def test_a_registry_may_have_a_private_address_and_no_other_one(vector: dict[str, str]) -> None:
    assert (classify(ip_address(vector["address"]), of_registry=True) is None) == is_private(vector)


@pytest.mark.parametrize("address", ["10.1.2.3", "203.0.113.7", "fd00::1", "1.1.1.1"])
def test_a_registry_is_not_this_machine_itself(address: str) -> None:
    own = ip_address(address)
    assert classify(own, own={own}, of_registry=True) is not None
    assert classify(own, own=(), of_registry=True) is None


def test_a_setting_opens_no_more_than_it_names() -> None:
    allowed = (ip_network("10.1.0.0/16"),)
    assert classify(ip_address("10.1.2.3"), allowed) is None
    assert classify(ip_address("10.2.2.3"), allowed) is not None
    assert classify(ip_address("::ffff:10.1.2.3"), allowed) is not None


def test_this_machine_is_not_reached_by_its_public_address() -> None:
    own = ip_address("1.1.1.1")
    assert classify(own, own={own}) == "this machine's own"
    assert classify(ip_address("1.1.1.2"), own={own}) is None
    assert classify(own, (ip_network("1.1.1.1/32"),), own={own}) is None


def test_the_machines_addresses_are_found() -> None:
    assert ip_address("127.0.0.1") in own_addresses()


def test_no_setting_opens_what_stands_for_names_in_sandboxes() -> None:
    stand_ins = StandIns()
    for name in ("a.example", "b.example", "c.example"):
        for address in stand_ins.addresses(name):
            assert classify(address, (ip_network(address), *EVERYTHING)) is not None
            assert classify(address, of_registry=True) is not None
    assert classify(ip_address("fd63:6c70::1"), EVERYTHING) is None  # the rest of that range can be opened


@given(st.ip_addresses(v=4))
def test_an_address_inside_another_is_never_reached(inner: IPv4Address) -> None:
    number = int(inner)
    nat64, six_to_four = int(IPv6Address("64:ff9b::")), int(IPv6Address("2002::"))
    for outer in (number, 0xFFFF << 32 | number, nat64 | number, six_to_four | number << 80):
        assert classify(IPv6Address(outer)) is not None


@given(st.ip_addresses())
def test_what_python_calls_private_is_never_reached(address: IPv4Address | IPv6Address) -> None:
    if not address.is_global or address.is_multicast:
        assert classify(address) is not None
