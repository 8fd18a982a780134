"""The name server of a sandbox, message by message."""

from ipaddress import ip_address

import pytest
from dnslib import CNAME, EDNS0, QTYPE, RCODE, RR, DNSHeader, DNSQuestion, DNSRecord

from cloister.egress import names
from cloister.egress.names import answer
from cloister.egress.stand_ins import StandIns


def ask(name: str, kind: str = "A") -> DNSRecord:
    answered = answer(DNSRecord.question(name, kind).pack(), StandIns())
    assert answered is not None
    return DNSRecord.parse(answered)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\0" * 11,
        b"\0" * 12,
        DNSRecord.question("x.org").pack()[:-1],
        DNSRecord.question("x.org").reply().pack(),
        DNSRecord(DNSHeader(opcode=4), q=DNSQuestion("x.org")).pack(),
        DNSRecord(questions=[DNSQuestion("x.org"), DNSQuestion("y.org")]).pack(),
        DNSRecord.question("x.org").pack() + b"\0" * 1024,
    ],
)
def test_what_is_no_ordinary_question_gets_no_answer(message: bytes) -> None:
    assert answer(message, StandIns()) is None


def test_a_message_is_not_read_before_its_counts_are_a_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    costly = DNSRecord(questions=[DNSQuestion("x.org")], rr=[RR("x.org", QTYPE.CNAME, rdata=CNAME("y.org"))] * 54)
    read = []
    monkeypatch.setattr(names.DNSRecord, "parse", read.append)
    assert answer(costly.pack(), StandIns()) is None
    assert read == []


@pytest.mark.parametrize("name", ["a_b.example", "1.2.3.4", "-x.org"])
def test_a_name_that_no_host_has_does_not_exist(name: str) -> None:
    assert ask(name).header.rcode == RCODE.NXDOMAIN


@pytest.mark.parametrize("kind", ["TXT", "MX", "HTTPS", "ANY", "PTR", "SRV"])
def test_a_name_has_addresses_and_nothing_else(kind: str) -> None:
    reply = ask("www.example.com", kind)
    assert (reply.header.rcode, reply.rr) == (RCODE.NOERROR, [])


def test_an_address_leads_back_to_its_name() -> None:
    stand_ins = StandIns()
    for name in ("www.example.com", "WWW.Example.com.", "x.org"):
        for kind in ("A", "AAAA"):
            question = DNSRecord.question(name, kind)
            question.add_ar(EDNS0(udp_len=1232))
            answered = answer(question.pack(), stand_ins)
            assert answered is not None
            [record] = DNSRecord.parse(answered).rr
            assert stand_ins.name(ip_address(str(record.rdata))) == name.lower().removesuffix(".")


def test_localhost_is_here() -> None:
    assert [str(record.rdata) for record in ask("db.localhost").rr] == ["127.0.0.1"]
    assert [str(record.rdata) for record in ask("localhost", "AAAA").rr] == ["::1"]
