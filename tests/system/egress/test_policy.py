"""Who may be reached: off, limited and full through the real process; each refusal with its twin."""

from dataclasses import replace

import pytest

from cloister.egress.messages import EgressSettings
from cloister.egress.process import EgressProcess
from cloister.errors import EgressError
from cloister.model.ceiling import Ceiling
from cloister.model.network import NetworkMode
from cloister.model.phase import Phase

from .conftest import PUBLIC
from .door import Door
from .origin import Origin
from .world import World


async def test_off_refuses_with_a_sentence_that_says_what_to_set(door: Door, world: World) -> None:
    await door.open(NetworkMode.OFF)
    answer = (await door.get("http://example.com/")).decode()
    assert answer.startswith("HTTP/1.1 403 Forbidden\r\n")
    assert answer.endswith(
        "Cloister refused GET example.com:80 in the agent phase of environment 'web': agent internet is off; "
        'to allow it, set network.agent = "limited" and add "example.com" to network.allow in the environment file, '
        "or run with --internet limited --allow example.com.\n"
    )
    assert door.refusals() == ["agent internet is off"]
    assert world.lookups == [], "a name is looked up only after it is allowed"


async def test_off_refuses_a_tunnel(door: Door) -> None:
    await door.open(NetworkMode.OFF)
    with pytest.raises(ValueError, match=r"403 Forbidden(.|\n)*agent internet is off"):
        async with door.tunnel("example.com:443"):
            pass


async def test_an_empty_allowlist_allows_nothing(door: Door) -> None:
    await door.open(allow=())
    assert b"example.com is not in network.allow" in await door.get("http://example.com/")


async def test_a_listed_domain_and_its_subdomains_are_reached(door: Door, origins: dict[str, Origin]) -> None:
    await door.open()
    assert (await door.get("http://example.com/")).endswith(b"\r\n\r\nhello")
    assert (await door.get("http://WWW.Example.com./")).endswith(b"\r\n\r\nhello")
    assert [record.decision.rule for record in door.records] == ["allow: example.com"] * 2
    assert set(origins["http"].reached) == {PUBLIC}


@pytest.mark.parametrize("host", ["evilexample.com", "example.com.evil.org", "com", "example.org"])
async def test_a_neighbour_of_a_listed_domain_is_refused(door: Door, world: World, host: str) -> None:
    world.zone[host] = [PUBLIC]
    await door.open()
    assert (await door.get(f"http://{host}/")).startswith(b"HTTP/1.1 403 ")
    await door.open(NetworkMode.FULL)
    assert (await door.get(f"http://{host}/")).startswith(b"HTTP/1.1 200 ")


async def test_a_port_that_is_not_named_is_refused(door: Door) -> None:
    await door.open()
    assert b"port 8080 is not in network.ports" in await door.get("http://example.com:8080/")
    await door.open(ports=(8080,))
    assert b"example.com is" not in await door.get("http://example.com:8080/")
    assert door.records[-1].decision.allowed


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "PURGE", "get", "TRACE"])
async def test_a_method_that_is_not_listed_is_refused(door: Door, origins: dict[str, Origin], method: str) -> None:
    await door.open(methods=("GET", "HEAD"))
    assert (await door.get("http://example.com/", method=method)).startswith(b"HTTP/1.1 403 ")
    assert origins["http"].received == []


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "PURGE"])
async def test_without_a_list_every_method_is_carried(door: Door, origins: dict[str, Origin], method: str) -> None:
    await door.open()
    assert (await door.get("http://example.com/", method=method)).startswith(b"HTTP/1.1 200 ")
    assert origins["http"].received[0].startswith(method.encode() + b" / HTTP/1.1\r\n")


async def test_a_header_that_overrides_the_method_is_limited_too(door: Door) -> None:
    await door.open(methods=("GET", "HEAD"))
    override = "X-HTTP-Method-Override: DELETE\r\n"
    assert b"DELETE is not in network.methods" in await door.get("http://example.com/", headers=override)
    await door.open()
    assert (await door.get("http://example.com/", headers=override)).startswith(b"HTTP/1.1 200 ")


async def test_an_address_is_reached_in_full_mode_only(door: Door) -> None:
    await door.open(allow=("example.com",))
    assert b"names, not addresses" in await door.get(f"http://{PUBLIC}/")
    await door.open(NetworkMode.FULL)
    assert (await door.get(f"http://{PUBLIC}/")).startswith(b"HTTP/1.1 200 ")


async def test_the_phase_is_in_the_sentence_and_in_the_record(door: Door) -> None:
    await door.open(NetworkMode.OFF, phase=Phase.SETUP)
    assert b"in the setup phase" in await door.get("http://example.com/")
    assert (door.records[0].sandbox, door.records[0].phase) == ("t-1", Phase.SETUP)


@pytest.mark.parametrize("domain", ["*", "com", "Example.com", "10.0.0.1"])
async def test_a_policy_that_is_not_canonical_is_never_in_force(door: Door, domain: str) -> None:
    with pytest.raises(EgressError):
        await door.open(allow=(domain,))


async def test_the_operators_ceiling_holds_in_full_mode_too(
    world: World, door: Door, origins: dict[str, Origin], settings: EgressSettings
) -> None:
    bounded = replace(settings, ceiling=Ceiling(deny=("www.example.com",), ports=(80,), methods=("GET",)))
    async with EgressProcess(bounded, command_prefix=world.command_prefix) as egress:
        door.egress = egress
        await door.open(NetworkMode.FULL, ports=(80, 8080))
        assert b"network_deny holds www.example.com." in await door.get("http://www.example.com/")
        assert b"network_ports does not hold 8080." in await door.get("http://example.com:8080/")
        assert b"network_methods does not hold POST." in await door.get("http://example.com/", method="POST")
        assert origins["http"].received == []
        assert (await door.get("http://example.com/")).startswith(b"HTTP/1.1 200 ")
