"""What is told of a request after the decision: its number, its path, and how much it carried until when."""

import anyio
import pytest

from cloister.model.network import NetworkMode

from .door import Door, read_to_end
from .origin import Origin


async def ended(door: Door, count: int) -> None:
    """Wait until that many flows have ended."""
    with anyio.fail_after(10):
        while len(door.ends) < count:  # noqa: ASYNC110 - another process says when
            await anyio.sleep(0.01)


async def test_a_request_has_a_number_a_path_without_query_and_an_end_with_its_bytes(
    door: Door, origins: dict[str, Origin]
) -> None:
    await door.open()
    answer = await door.get("http://example.com/a/b?token=1", headers="X-Long: " + "x" * 1000 + "\r\n")
    await ended(door, 1)
    (record,), (end,) = door.records, door.ends
    assert (record.flow, record.path) == (1, "/a/b")
    assert (end.flow, end.phase, end.sandbox) == (1, record.phase, record.sandbox)
    assert 1000 < end.sent_bytes < 1400
    assert 0 < end.received_bytes < len(answer) + 100


async def test_a_tunnel_counts_what_it_carries_each_way(door: Door, origins: dict[str, Origin]) -> None:
    await door.open(ports=(8080,))
    async with door.tunnel("example.com:8080") as tunnel:
        await tunnel.send(b"x" * 996 + b"\r\n\r\n")
        assert len(await tunnel.receive()) == 1000
        await tunnel.send_eof()
    await ended(door, 1)
    (end,) = door.ends
    assert (end.sent_bytes, end.received_bytes) == (1000, 1000)


async def test_a_refused_request_has_a_number_and_no_end(door: Door, origins: dict[str, Origin]) -> None:
    await door.open()
    await door.get("http://other.org/x")
    await door.get("http://example.com/")
    await ended(door, 1)
    assert [(record.flow, record.decision.allowed) for record in door.records] == [(1, False), (2, True)]
    assert [end.flow for end in door.ends] == [2]


async def test_what_a_new_policy_or_the_close_cuts_is_told_as_ended(door: Door, origins: dict[str, Origin]) -> None:
    await door.open(ports=(8080,))
    async with door.tunnel("example.com:8080") as cut:
        await door.open(NetworkMode.OFF)
        with pytest.raises(ConnectionResetError):
            await read_to_end(cut)
    await door.open(ports=(8080,))
    async with door.tunnel("example.com:8080"):
        await door.egress.close(door.name)
    assert [end.flow for end in door.ends] == [record.flow for record in door.records] == [1, 2]
