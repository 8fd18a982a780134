"""What was looked up a moment ago."""

from ipaddress import ip_address

from cloister.egress.dial import RecentAddresses

ADDRESSES = [ip_address("93.184.215.14")]


def test_what_was_found_holds_for_a_second_and_for_its_own_name() -> None:
    recent = RecentAddresses()
    recent.put("example.com", ADDRESSES, 10.0)
    assert recent.get("example.com", 10.9) == ADDRESSES
    assert recent.get("example.com", 11.0) is None
    assert recent.get("www.example.com", 10.0) is None


def test_a_sandbox_that_asks_for_ever_new_names_fills_no_memory() -> None:
    recent = RecentAddresses()
    for number in range(10_000):
        recent.put(f"n{number}.example.com", ADDRESSES, 10.0)
    held = [number for number in range(10_000) if recent.get(f"n{number}.example.com", 10.0)]
    assert 0 < len(held) <= 256
    assert held[-1] == 9_999
