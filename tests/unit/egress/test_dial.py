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
from cloister.egress.dial import dial
from cloister.egress.hop import Hop, RecentHops
from cloister.egress.request import Authority
from cloister.egress.watch import running_watch


def hop(host: str, port: int = 443) -> Hop:
    return Hop(Authority(host, port), [ip_address("93.184.215.14")])


def test_what_was_found_holds_for_a_second_and_for_its_own_name_and_port() -> None:
    recent, found = RecentHops(), hop("example.com")
    recent.put(found.upstream, found, 10.0)
    assert recent.get(found.upstream, 10.9) is found
    assert recent.get(found.upstream, 11.0) is None
    assert recent.get(Authority("www.example.com", 443), 10.0) is None
    assert recent.get(Authority("example.com", 80), 10.0) is None


def test_a_sandbox_that_asks_for_ever_new_names_fills_no_memory() -> None:
    recent = RecentHops()
    found = [hop(f"n{number}.example.com") for number in range(10_000)]
    for one in found:
        recent.put(one.upstream, one, 10.0)
    held = [one for one in found if recent.get(one.upstream, 10.0)]
    assert 0 < len(held) <= 256
    assert held[-1] is found[-1]


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
