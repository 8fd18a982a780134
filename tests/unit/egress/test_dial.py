"""What was looked up a moment ago, and what becomes of a connection that cannot be made."""

import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from ipaddress import ip_address

import pytest

from cloister.egress.answer import AnswerError
from cloister.egress.dial import RecentAddresses, dial
from cloister.egress.request import Authority
from cloister.egress.watch import running_watch

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


@contextmanager
def no_descriptors_left() -> Iterator[None]:
    free = os.dup(0)
    os.close(free)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def test_what_we_ourselves_lack_is_not_said_of_the_upstream() -> None:
    running_watch()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        authority = Authority("example.com", listener.getsockname()[1])
        here = [ip_address("127.0.0.1")]
        (await dial(authority, here, seconds=5)).close()
        with no_descriptors_left(), pytest.raises(AnswerError) as lacking:
            await dial(authority, here, seconds=5)
    assert lacking.value.status is HTTPStatus.SERVICE_UNAVAILABLE
    assert "Too many open files" in lacking.value.sentence
    with pytest.raises(AnswerError, match="Connection refused") as refused:
        await dial(authority, here, seconds=5)
    assert refused.value.status is HTTPStatus.BAD_GATEWAY
