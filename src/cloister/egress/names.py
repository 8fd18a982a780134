"""The name server of a sandbox: every name gets an address that stands for it, and no question is ever passed on."""

import asyncio
import socket
import struct
from contextlib import closing, suppress

from dnslib import AAAA, CLASS, QTYPE, RCODE, RR, A, DNSError, DNSRecord
from dnslib.buffer import BufferError
from dnslib.label import DNSLabelError

from cloister.egress.pace import Pace
from cloister.egress.stand_ins import StandIns
from cloister.egress.stream import Stream
from cloister.egress.watch import watch
from cloister.model.network import parse_host

_LARGEST_QUESTION = 1024
_COUNTS = struct.Struct("!4H")
_COUNTS_AT = 4
_SECONDS_TO_LIVE = 60
_SILENCE_SECONDS = 10.0
_LOOPBACK = ("127.0.0.1", "::1")
_MALFORMED = (DNSError, DNSLabelError, BufferError, ValueError)
"""What the library raises for messages that are none, of which it takes some at first."""


def answer(data: bytes, stand_ins: StandIns) -> bytes | None:
    """Return the answer to a DNS message; None for what is no question, or none that can be written again.

    Names that no host has do not exist; a name that one could have has addresses, and no other records.
    """
    try:
        question = _parse(data)
        return None if question is None else _answer(question, stand_ins)
    except _MALFORMED:
        return None


def _answer(question: DNSRecord, stand_ins: StandIns) -> bytes:
    reply = question.reply(ra=1, aa=0)
    try:
        name = parse_host(str(question.q.qname))
    except ValueError:
        reply.header.rcode = RCODE.NXDOMAIN
        return bytes(reply.pack())
    if question.q.qclass == CLASS.IN:
        _add_address(reply, name, stand_ins)
    return bytes(reply.pack())


class NameServer:
    """Answers one sandbox, at a bounded rate."""

    def __init__(self, stand_ins: StandIns) -> None:
        self._stand_ins = stand_ins
        self._pace = Pace(burst=1000, per_second=500.0)

    async def answer_datagrams(self, bound: socket.socket) -> None:
        """Answer what comes over UDP, for ever. What comes too fast is lost in the kernel's queue."""
        bound.setblocking(False)
        with closing(watch(bound)) as watched:
            while True:
                with suppress(OSError):  # UDP promises nothing, and tells of earlier answers that nobody took
                    try:
                        data, sender = bound.recvfrom(_LARGEST_QUESTION + 1)
                    except BlockingIOError:
                        await watched.readable()
                        continue
                    if (answered := answer(data, self._stand_ins)) is not None:
                        bound.sendto(answered, sender)
                await asyncio.sleep(self._pace.take(asyncio.get_running_loop().time()))

    async def serve_client(self, _: object, client: Stream) -> None:
        """Answer what comes over one TCP connection, to its end. Raises nothing but cancellation."""
        with suppress(OSError, EOFError, TimeoutError):
            while (answered := answer(await _read_message(client), self._stand_ins)) is not None:
                await client.send(len(answered).to_bytes(2, "big") + answered)
                await asyncio.sleep(self._pace.take(asyncio.get_running_loop().time()))
        await client.close_in_order()


async def _read_message(client: Stream) -> bytes:
    """Return the next message (RFC 1035, 4.2.2). EOFError when there is none, TimeoutError when it takes too long."""
    async with asyncio.timeout(_SILENCE_SECONDS):
        size = int.from_bytes(await _read_exactly(client, 2), "big")
        if size > _LARGEST_QUESTION:
            raise EOFError
        return await _read_exactly(client, size)


async def _read_exactly(client: Stream, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = await client.receive()
        if not more:
            raise EOFError
        data += more
    client.unread(data[count:])
    return data[:count]


def _parse(data: bytes) -> DNSRecord | None:
    """Return the message when it is one ordinary question."""
    if len(data) > _LARGEST_QUESTION or not _holds_one_question(data):
        return None
    message = DNSRecord.parse(data)
    header = message.header
    is_question = not header.qr and header.opcode == 0 and len(message.questions) == 1
    return message if is_question else None


def _holds_one_question(data: bytes) -> bool:
    """Whether the counts of a message's header are those of a question (RFC 1035, 4.1.1), EDNS allowed.

    Asked before the rest is read: 130 compressed names in one datagram take 200 times as long as a question.
    """
    if len(data) < _COUNTS.size + _COUNTS_AT:
        return False
    questions, answers, authorities, additional = _COUNTS.unpack_from(data, _COUNTS_AT)
    return (questions, answers, authorities) == (1, 0, 0) and additional <= 1


def _add_address(reply: DNSRecord, name: str, stand_ins: StandIns) -> None:
    if reply.q.qtype not in (QTYPE.A, QTYPE.AAAA):
        return
    is_local = name == "localhost" or name.endswith(".localhost")
    address_4, address_6 = _LOOPBACK if is_local else map(str, stand_ins.addresses(name))
    rdata = A(address_4) if reply.q.qtype == QTYPE.A else AAAA(address_6)
    reply.add_answer(RR(reply.q.qname, reply.q.qtype, rdata=rdata, ttl=_SECONDS_TO_LIVE))
