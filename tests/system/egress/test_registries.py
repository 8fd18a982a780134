"""A registry of the host may have a private address: it alone, no other kind of address, and under the same policy."""

import socket

import pytest

from cloister.egress.messages import EgressSettings
from cloister.egress.process import EgressProcess
from cloister.model.ceiling import Ceiling
from cloister.model.network import REGISTRIES, NetworkMode

from .conftest import PUBLIC
from .door import Door
from .origin import Origin
from .world import World

REGISTRY = "registry.example"
PRIVATE = ["10.1.2.3", "172.16.0.9", "192.168.7.7", "100.64.0.1", "192.0.2.7", "198.51.100.7", "203.0.113.7"]
NEVER = ["127.0.0.1", "::1", "169.254.1.1", "fe80::1", "169.254.169.254", "100.100.100.200", "fd00:ec2::254"]
NEVER += ["0.0.0.0", "224.0.0.1", "198.18.0.1", "240.0.0.1", "64:ff9b::a01:203", "::ffff:10.1.2.3", "2001:db8::1"]


@pytest.fixture
def settings() -> EgressSettings:
    return EgressSettings(registries=(REGISTRY,))


@pytest.mark.parametrize("mode", [NetworkMode.FULL, NetworkMode.LIMITED])
@pytest.mark.parametrize("host", ["other.example", f"sub.{REGISTRY}", "example", f"my{REGISTRY}"])
async def test_another_name_gains_nothing(
    door: Door, world: World, origins: dict[str, Origin], host: str, mode: NetworkMode
) -> None:
    world.zone[host] = world.zone[REGISTRY] = ["10.1.2.3"]
    await door.open(mode, allow=(host, REGISTRY) if "." in host else (REGISTRY,))
    assert (await door.get(f"http://{host}/")).startswith(b"HTTP/1.1 403 ")
    assert origins["http"].reached == []


async def test_the_address_of_a_registry_is_no_name(door: Door, world: World, origins: dict[str, Origin]) -> None:
    world.zone[REGISTRY] = ["10.1.2.3"]
    await door.open(NetworkMode.FULL)
    assert b"10.1.2.3 is not a public address" in await door.get("http://10.1.2.3/")
    assert origins["http"].reached == []


@pytest.mark.parametrize("address", NEVER)
async def test_a_registry_at_an_address_that_is_not_private_is_refused(
    door: Door, world: World, origins: dict[str, Origin], address: str
) -> None:
    for answer in ([address], ["10.1.2.3", address]):
        world.zone[REGISTRY] = answer
        await door.open(NetworkMode.FULL)
        assert b"which is never reached" in await door.get(f"http://{REGISTRY}/")
    assert origins["http"].reached == origins["http6"].reached == []


async def test_a_registry_at_this_machines_own_address_is_refused(
    door: Door, world: World, origins: dict[str, Origin]
) -> None:
    world.zone[REGISTRY] = [world.own_address]
    await door.open(NetworkMode.FULL)
    assert b"this machine's own" in await door.get(f"http://{REGISTRY}/")
    assert origins["http"].reached == []


async def test_the_policy_is_asked_first(door: Door, world: World, origins: dict[str, Origin]) -> None:
    world.zone[REGISTRY] = ["10.1.2.3"]
    await door.open(NetworkMode.OFF)
    assert b"agent internet is off" in await door.get(f"http://{REGISTRY}/")
    await door.open(allow=("example.com",))
    assert b"is not in network.allow" in await door.get(f"http://{REGISTRY}/")
    await door.open(NetworkMode.FULL)
    assert b"port 8080 is not in network.ports" in await door.get(f"http://{REGISTRY}:8080/")
    assert REGISTRY not in world.lookups
    assert origins["http"].reached == []


@pytest.mark.parametrize("address", PRIVATE)
async def test_a_registry_is_reached_at_a_private_address(
    door: Door, world: World, origins: dict[str, Origin], address: str
) -> None:
    world.zone[REGISTRY] = [address]
    for mode in (NetworkMode.FULL, NetworkMode.LIMITED):
        await door.open(mode, allow=(REGISTRY,))
        assert (await door.get(f"http://{REGISTRY.upper()}./")).startswith(b"HTTP/1.1 200 ")
    assert origins["http"].reached == [address, address]


async def test_what_the_host_says_is_added_to_what_is_set(
    world: World, origins: dict[str, Origin], settings: EgressSettings
) -> None:
    async def registries() -> frozenset[str]:
        return frozenset(["mirror.example"])

    world.zone.update({REGISTRY: ["10.1.2.3"], "mirror.example": ["fd00::1"], "other.example": ["10.1.2.3"]})
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with EgressProcess(settings, registries=registries, command_prefix=world.command_prefix) as egress:
            door = Door(egress, listener)
            await door.open(NetworkMode.FULL)
            for host, status in ((REGISTRY, 200), ("mirror.example", 200), ("other.example", 403)):
                assert (await door.get(f"http://{host}/")).startswith(f"HTTP/1.1 {status} ".encode())
    assert (origins["http"].reached, origins["http6"].reached) == (["10.1.2.3"], ["fd00::1"])


async def test_a_registry_at_a_public_address_is_reached_as_ever(
    door: Door, world: World, origins: dict[str, Origin]
) -> None:
    world.zone[REGISTRY] = [PUBLIC]
    await door.open(NetworkMode.FULL)
    assert (await door.get(f"http://{REGISTRY}/")).startswith(b"HTTP/1.1 200 ")
    assert origins["http"].reached == [PUBLIC]


@pytest.mark.parametrize("host", ["other.org", f"my{REGISTRY}"])
async def test_the_preset_stands_for_nothing_but_the_registries(
    door: Door, world: World, origins: dict[str, Origin], host: str
) -> None:
    world.zone[host] = world.zone[REGISTRY] = [PUBLIC]
    await door.open(NetworkMode.LIMITED, allow=(REGISTRIES,))
    assert (await door.get(f"http://{host}/")).startswith(b"HTTP/1.1 403 ")
    assert (await door.get(f"http://{REGISTRY}/")).startswith(b"HTTP/1.1 200 ")
    await door.open(NetworkMode.LIMITED, allow=("example.com",))
    assert (await door.get(f"http://{REGISTRY}/")).startswith(b"HTTP/1.1 403 "), "the twin: it is the preset that opens"


class TestWithTheOperatorsBound:
    @pytest.fixture
    def settings(self) -> EgressSettings:
        return EgressSettings(registries=(REGISTRY,), ceiling=Ceiling(allow=(REGISTRIES,)))

    async def test_the_operator_may_bound_by_the_preset(self, door: Door, world: World) -> None:
        world.zone[REGISTRY] = [PUBLIC]
        await door.open(NetworkMode.FULL)
        assert (await door.get(f"http://{REGISTRY}/")).startswith(b"HTTP/1.1 200 ")
        assert b"the operator's network_allow does not hold example.com" in await door.get("http://example.com/")
