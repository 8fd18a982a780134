"""The sandboxes' name server, message by message."""

import pytest
from dnslib import QTYPE, RCODE, DNSRecord
from hypothesis import given
from hypothesis import strategies as st

from cloister.egress.names import answer
from cloister.egress.stand_ins import StandIns


def ask(name: str, kind: str = "A") -> DNSRecord:
    answered = answer(DNSRecord.question(name, kind).pack(), StandIns())
    assert answered is not None
    return DNSRecord.parse(answered)


@pytest.mark.parametrize("kind", ["A", "AAAA"])
def test_a_name_has_an_address_of_either_family(kind: str) -> None:
    (record,) = ask("Example.com", kind).rr
    address_4, address_6 = StandIns().addresses("example.com")
    assert str(record.rdata) == str(address_4 if kind == "A" else address_6)


@pytest.mark.parametrize("kind", ["MX", "TXT", "NS", "SOA", "PTR", "SRV", "HTTPS", "CNAME", "ANY", "NULL"])
def test_a_name_has_no_other_records(kind: str) -> None:
    reply = ask("example.com", kind)
    assert (reply.header.rcode, reply.rr) == (RCODE.NOERROR, [])


@pytest.mark.parametrize("name", ["localhost", "a.localhost"])
def test_localhost_is_loopback(name: str) -> None:
    assert [str(ask(name, kind).rr[0].rdata) for kind in ("A", "AAAA")] == ["127.0.0.1", "::1"]


@pytest.mark.parametrize("name", ["_x.example.com", "1.2.3.4", "a b.example", "-a.example"])
def test_what_is_no_host_does_not_exist(name: str) -> None:
    assert ask(name).header.rcode == RCODE.NXDOMAIN


def test_an_answer_gets_no_answer() -> None:
    """Or two servers could keep each other busy."""
    reply = DNSRecord.question("example.com").reply()
    assert answer(reply.pack(), StandIns()) is None


def test_what_is_too_long_or_asks_twice_gets_no_answer() -> None:
    twice = DNSRecord.question("example.com")
    twice.add_question(twice.q)
    assert answer(twice.pack(), StandIns()) is None
    assert answer(DNSRecord.question("example.com").pack() + bytes(1024), StandIns()) is None


@given(st.binary(max_size=200), st.integers(0, 60))
def test_hostile_bytes_get_an_answer_or_none(noise: bytes, at: int) -> None:
    question = DNSRecord.question("www.example.com", QTYPE[28]).pack()
    for data in (noise, question[:at] + noise, question[:at] + noise + question[at:], question[:12] + noise):
        answered = answer(data, StandIns())
        assert answered is None or DNSRecord.parse(answered).header.qr
