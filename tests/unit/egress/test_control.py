"""What is said over the control socket: together, in order, and no faster than it is heard."""

import asyncio
import os
import socket
from collections.abc import Iterator

import pytest
from msgspec import Struct
from msgspec.json import Decoder

from cloister.egress.control import ControlChannel, control_pair


class Word(Struct, frozen=True):
    text: str


Ends = tuple[ControlChannel[Word], socket.socket]
WORDS = Decoder(list[Word])
LONG = "x" * 100_000


@pytest.fixture
def ends() -> Iterator[Ends]:
    ours, theirs = control_pair()
    theirs.settimeout(5)
    with ours, theirs:
        yield ControlChannel(ours, WORDS), theirs


def hear(end: socket.socket) -> list[str]:
    """The words of the next datagram."""
    return [word.text for word in WORDS.decode(end.recv(1 << 20))]


async def test_what_is_said_in_one_turn_goes_together_and_before_what_is_sent(ends: Ends) -> None:
    channel, theirs = ends
    for text in "abc":
        channel.say_soon(Word(text))
    await channel.say(Word("d"))
    await channel.send(Word("e"))
    channel.say_soon(Word("f"))
    assert [hear(theirs), hear(theirs)] == [["a", "b", "c", "d"], ["e"]]
    await asyncio.sleep(0)
    assert hear(theirs) == ["f"], "without being waited for"


async def test_who_says_more_than_is_heard_waits_and_nothing_is_lost_or_overtaken(ends: Ends) -> None:
    channel, theirs = ends

    async def say_all() -> None:
        for number in range(200):
            await channel.say(Word(f"{number} {LONG}"))
            await asyncio.sleep(0)
        channel.say_soon(Word("200"))
        await channel.send(Word("201"))

    saying = asyncio.create_task(say_all())
    await asyncio.sleep(0.2)
    assert not saying.done()
    heard: list[str] = []
    while len(heard) < 202:
        heard += await asyncio.to_thread(hear, theirs)
    assert [int(text.split()[0]) for text in heard] == list(range(202))
    await saying


async def test_what_is_cancelled_while_it_waits_is_not_sent(ends: Ends) -> None:
    channel, theirs = ends
    waiting = [asyncio.create_task(channel.send(Word(f"{number} {LONG}"))) for number in range(100)]
    await asyncio.sleep(0.1)
    given_up = waiting[-1]
    assert not given_up.done()
    given_up.cancel()
    await asyncio.wait([given_up])
    heard = [(await asyncio.to_thread(hear, theirs))[0].split()[0] for _ in range(99)]
    assert heard == [str(number) for number in range(99)]
    await channel.send(Word("last"))
    assert hear(theirs) == ["last"]


async def test_who_waits_at_an_end_that_is_closed_is_told(ends: Ends) -> None:
    channel, _ = ends
    sending = [asyncio.create_task(channel.send(Word(LONG))) for _ in range(100)]
    hearing = asyncio.create_task(channel.receive())
    await asyncio.sleep(0.1)
    channel.close()
    async with asyncio.timeout(5):
        told = await asyncio.gather(sending[-1], hearing, return_exceptions=True)
    assert [isinstance(error, OSError) for error in told] == [True, True]
    await asyncio.gather(*sending, return_exceptions=True)


async def test_messages_of_one_datagram_are_received_one_by_one_with_its_descriptors(ends: Ends) -> None:
    channel, theirs = ends
    descriptor = os.memfd_create("given")
    try:
        socket.send_fds(theirs, [b'[{"text":"a"},{"text":"b"}]'], [descriptor])
    finally:
        os.close(descriptor)
    first, second = await channel.receive(), await channel.receive()
    assert first is not None
    assert second is not None
    assert (first[0].text, len(first[1]), second[0].text, second[1]) == ("a", 1, "b", [])
    os.close(first[1][0])
    theirs.close()
    assert await channel.receive() is None


@pytest.mark.parametrize("said", [b'{"text":"a"}', b'[{"text":1}]', b"[", b"\xff"])
async def test_anything_else_is_an_error(ends: Ends, said: bytes) -> None:
    channel, theirs = ends
    theirs.send(said)
    with pytest.raises(ValueError, match=r"Expected|truncated|malformed"):
        await channel.receive()


async def test_what_may_be_said_later_goes_with_what_is_said_next_or_by_itself_in_a_moment(ends: Ends) -> None:
    channel, theirs = ends
    channel.say_later(Word("a"))
    await asyncio.sleep(0)
    channel.say_later(Word("b"))
    channel.say_soon(Word("c"))
    await asyncio.sleep(0)
    assert hear(theirs) == ["a", "b", "c"]
    channel.say_later(Word("d"))
    assert await asyncio.to_thread(hear, theirs) == ["d"]
    channel.say_later(Word("e"))
    await channel.send(Word("f"))
    assert [hear(theirs), hear(theirs)] == [["e"], ["f"]]
