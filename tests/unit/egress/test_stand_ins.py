"""Addresses that stand for names: the same for the same name, never two names for one, and a bounded number."""

from ipaddress import ip_address

from cloister.egress.stand_ins import MOST_NAMES, StandIns


def test_an_address_leads_back_to_its_name_in_both_families() -> None:
    stand_ins = StandIns()
    for name in ("example.com", "www.example.com"):
        assert [stand_ins.name(address) for address in stand_ins.addresses(name)] == [name, name]


def test_a_name_keeps_its_address_in_another_table() -> None:
    assert StandIns().addresses("example.com") == StandIns().addresses("example.com")


def test_the_oldest_name_is_forgotten_and_one_that_is_asked_for_again_is_not() -> None:
    stand_ins = StandIns()
    kept, _ = stand_ins.addresses("kept.example")
    lost, _ = stand_ins.addresses("lost.example")
    for number in range(MOST_NAMES - 1):
        stand_ins.addresses(f"n{number}.example")
        stand_ins.addresses("kept.example")
    assert stand_ins.name(kept) == "kept.example"
    assert stand_ins.name(lost) != "lost.example"


def test_names_that_collide_get_different_addresses() -> None:
    stand_ins = StandIns()
    addresses = {stand_ins.addresses(f"n{number}.example")[0] for number in range(MOST_NAMES)}
    assert len(addresses) == MOST_NAMES


def test_other_addresses_stand_for_nothing() -> None:
    stand_ins = StandIns()
    stand_ins.addresses("example.com")
    for text in ("93.184.215.14", "198.18.0.1", "fd63:6c6f::1", "fd63:6c6f:ffff::", "::1"):
        assert stand_ins.name(ip_address(text)) is None
