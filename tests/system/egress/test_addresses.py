"""What is never reached, however it is spelled and whatever resolves to it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import anyio
import pytest

from cloister.egress.messages import EgressSettings
from cloister.model.network import NetworkMode

from .conftest import PUBLIC, PUBLIC_6
from .door import Door
from .origin import Origin, read_request
from .world import World

VECTORS = json.loads((Path(__file__).parents[2] / "unit/egress/addresses.json").read_text())
ADDRESSES = [vector["address"] for vector in VECTORS["never"] if "%" not in vector["address"]]


async def test_a_name_with_such_an_address_is_refused(door: Door, world: World, origins: dict[str, Origin]) -> None:
    await door.open()
    for number, address in enumerate(ADDRESSES):  # of one process: to start one takes longer than to ask it
        world.zone["example.com"] = [address]
        answer = await door.get("http://example.com/")
        assert answer.startswith(b"HTTP/1.1 403 ") and f"has the address {ip_address(address)}".encode() in answer
        assert "which is never reached" in door.refusals()[number], address
        assert origins["http"].reached == origins["http6"].reached == [], address


async def test_the_address_itself_is_refused_in_full_mode(door: Door, origins: dict[str, Origin]) -> None:
    await door.open(NetworkMode.FULL)
    for address in ADDRESSES:
        shown = f"[{address}]" if ":" in address else address
        assert (await door.get(f"http://{shown}/")).startswith(b"HTTP/1.1 403 "), address
        assert origins["http"].reached == origins["http6"].reached == [], address


@pytest.mark.parametrize(
    "address", ["10.1.2.3", "169.254.169.254", "100.100.100.200", "64:ff9b::7f00:1", "fd00:ec2::254", "2002:7f00:1::"]
)
def test_without_the_proxy_the_probe_arrives(world: World, origins: dict[str, Origin], address: str) -> None:
    with world.connect(address, 80) as straight:
        straight.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_request(straight).startswith(b"HTTP/1.1 200 ")


async def test_what_only_some_read_as_an_address_is_no_host(door: Door, world: World) -> None:
    world.zone["example.com"] = [PUBLIC]
    await door.open(NetworkMode.FULL)
    for spelling in VECTORS["spellings"]:
        answer = await door.ask(f"CONNECT {spelling}:80 HTTP/1.1\r\nHost: {spelling}:80\r\n\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 400 "), spelling
        assert world.lookups == [], spelling


@pytest.mark.parametrize("answer", [[PUBLIC, "10.0.0.1"], ["10.0.0.1", PUBLIC], [PUBLIC, "::1"], ["inside.corp."]])
async def test_one_private_address_forbids_the_name(
    door: Door, world: World, origins: dict[str, Origin], answer: list[str]
) -> None:
    world.zone["inside.corp"] = ["192.168.1.1"]
    world.zone["example.com"] = answer
    await door.open()
    assert (await door.get("http://example.com/")).startswith(b"HTTP/1.1 403 ")
    assert origins["http"].reached == []
    world.zone["example.com"] = [PUBLIC]
    assert (await door.get("http://example.com/")).startswith(b"HTTP/1.1 200 ")


async def test_this_machines_own_public_address_is_refused(
    door: Door, world: World, origins: dict[str, Origin]
) -> None:
    world.zone["example.com"] = [world.own_address]
    await door.open()
    assert b"which is never reached: this machine's own" in await door.get("http://example.com/")
    assert origins["http"].reached == []


async def test_the_address_that_was_classified_is_dialled(door: Door, world: World, origins: dict[str, Origin]) -> None:
    world.zone["example.com"] = [PUBLIC]
    await door.open()
    await door.get("http://example.com/")
    assert world.lookups.count("example.com") == 2, "one look-up asks for both families"
    assert origins["http"].reached == [PUBLIC]


async def test_the_other_family_is_dialled_when_the_name_has_only_that(
    door: Door, world: World, origins: dict[str, Origin]
) -> None:
    world.zone["example.com"] = [PUBLIC_6]
    await door.open()
    assert (await door.get("http://example.com/")).startswith(b"HTTP/1.1 200 ")
    assert origins["http6"].reached == [PUBLIC_6]


async def test_a_name_that_does_not_exist_is_not_searched_for_elsewhere(door: Door, world: World) -> None:
    await door.open(NetworkMode.FULL)
    answer = await door.get("http://nowhere.test/")
    assert answer.startswith(b"HTTP/1.1 502 ") and b"could not look up nowhere.test" in answer
    assert set(world.lookups) == {"nowhere.test"}


async def test_a_name_that_has_no_address_is_in_the_log(door: Door, world: World) -> None:
    world.zone["silent.example.com"] = ["!"]
    await door.open()
    for host in ("nowhere.example.com", "silent.example.com"):
        assert (await door.get(f"http://{host}/path")).startswith(b"HTTP/1.1 50")
    with anyio.fail_after(10):
        while len(door.ends) < 2:  # noqa: ASYNC110  the ends are reported behind the answers
            await anyio.sleep(0.01)
    assert [(record.host, record.decision.rule, record.path) for record in door.records] == [
        ("nowhere.example.com", "allow: example.com", "/path"),
        ("silent.example.com", "allow: example.com", "/path"),
    ]
    assert {end.flow for end in door.ends} == {record.flow for record in door.records}


ASK_AS_MANY_PROGRAMS_DO = """
import socket
socket.getaddrinfo("v4.example.com", 80, socket.AF_INET, socket.SOCK_STREAM, 0, socket.AI_ADDRCONFIG)
"""


@pytest.fixture
def world_without_own_address(world: World) -> Iterator[World]:
    """It has loopback alone: behind a company's proxy a machine may well look like that."""
    change = ("ip", "-n", world.name, "address")
    subprocess.run([*change, "delete", f"{world.own_address}/32", "dev", "lo"], check=True)
    yield world
    subprocess.run([*change, "add", f"{world.own_address}/32", "dev", "lo"], check=True)


@pytest.mark.parametrize(("host", "address", "origin"), [("v4", PUBLIC, "http"), ("v6", PUBLIC_6, "http6")])
async def test_a_machine_with_loopback_alone_finds_either_family(
    door: Door, world_without_own_address: World, origins: dict[str, Origin], host: str, address: str, origin: str
) -> None:
    world_without_own_address.zone[f"{host}.example.com"] = [address]
    await door.open()
    assert (await door.get(f"http://{host}.example.com/")).startswith(b"HTTP/1.1 200 ")
    assert origins[origin].reached == [address]


def test_there_a_look_up_for_configured_families_alone_finds_nothing(world_without_own_address: World) -> None:
    """The twin: with AI_ADDRCONFIG, which resolvers' clients tend to set, the same name has no address."""
    world_without_own_address.zone["v4.example.com"] = [PUBLIC]
    asking = [*world_without_own_address.command_prefix, sys.executable, "-c", ASK_AS_MANY_PROGRAMS_DO]
    asked = subprocess.run(asking, capture_output=True, text=True, check=False, timeout=30)
    assert "socket.gaierror" in asked.stderr, asked


class TestWithAPrivateRangeOpened:
    @pytest.fixture
    def settings(self) -> EgressSettings:
        return EgressSettings(allow_private=("10.0.0.0/8", "169.254.0.0/16", "198.18.0.0/15", "fd00::/8"))

    async def test_it_is_reached_and_the_others_are_not(
        self, door: Door, world: World, origins: dict[str, Origin]
    ) -> None:
        await door.open()
        for address, status in (("10.1.2.3", 200), ("192.168.1.1", 403), ("169.254.169.254", 403)):
            host = f"n{address.replace('.', '-')}.example.com"
            world.zone[host] = [address]
            assert (await door.get(f"http://{host}/")).startswith(f"HTTP/1.1 {status} ".encode())
        assert origins["http"].reached == ["10.1.2.3"]

    async def test_what_stands_for_names_in_sandboxes_is_not(
        self, door: Door, world: World, origins: dict[str, Origin]
    ) -> None:
        await door.open()
        for host, address, status in (
            ("four.example.com", "198.18.0.5", 403),
            ("six.example.com", "fd63:6c6f::5", 403),
            ("beside.example.com", "fd63:6c70::5", 200),
        ):
            world.zone[host] = [address]
            assert (await door.get(f"http://{host}/")).startswith(f"HTTP/1.1 {status} ".encode())
        assert origins["http6"].reached == ["fd63:6c70::5"]
