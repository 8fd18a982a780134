"""A host at an address that the operator gives: that one alone, and nothing else about it changes."""

import os
import socket
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from cloister.egress.messages import EgressSettings
from cloister.egress.process import EgressProcess
from cloister.model.network import Audit, NetworkMode
from cloister.model.upstreams import UpstreamProxy, Upstreams, parse_given_address

from .door import Door
from .origin import Authority, Origin
from .world import World

HOST = "example.com"
PRIVATE = "10.0.0.5"

At = Callable[..., AbstractAsyncContextManager[Door]]


@pytest.fixture
def at(world: World, settings: EgressSettings, origins: dict[str, Origin]) -> At:
    """Opens the door of a process that is told where `HOST` is."""

    @asynccontextmanager
    async def opened(address: str = PRIVATE, *, proxy: UpstreamProxy | None = None) -> AsyncIterator[Door]:
        upstreams = Upstreams(proxy=proxy, addresses={HOST: parse_given_address(address)})
        with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
            changed = replace(settings, upstreams=upstreams)
            async with EgressProcess(changed, command_prefix=world.command_prefix) as process:
                yield Door(process, listener)

    return opened


@pytest.mark.parametrize("address", ["169.254.169.254", "100.100.100.200", "127.0.0.1", "::1", "64:ff9b::a00:5"])
async def test_no_setting_opens_what_is_never_reached(at: At, origins: dict[str, Origin], address: str) -> None:
    async with at(address) as door:
        await door.open(NetworkMode.FULL)
        assert b"which is never reached" in await door.get(f"http://{HOST}/")
    assert origins["http"].reached == origins["http6"].reached == []


async def test_nothing_else_gets_there(at: At, world: World, origins: dict[str, Origin]) -> None:
    world.zone["other.example"] = world.zone[f"sub.{HOST}"] = [PRIVATE]
    async with at() as door:
        await door.open(NetworkMode.FULL)
        for host in ("other.example", f"sub.{HOST}", PRIVATE):
            assert (await door.get(f"http://{host}/")).startswith(b"HTTP/1.1 403 ")
        await door.open(allow=("other.org",))
        assert b"is not in network.allow" in await door.get(f"http://{HOST}/")
    assert origins["http"].reached == []


async def test_it_has_to_prove_that_it_is_that_host(
    world: World, settings: EgressSettings, origins: dict[str, Origin]
) -> None:
    upstreams = Upstreams(addresses={"private.example": parse_given_address(PRIVATE)})
    with socket.create_server(("127.0.0.1", 0)) as listener:
        changed = replace(settings, upstreams=upstreams)
        async with EgressProcess(changed, command_prefix=world.command_prefix) as process:
            door = Door(process, listener)
            await door.open(NetworkMode.FULL, audit=Audit.FULL)
            with pytest.raises(ValueError, match=r"private\.example:443 failed in TLS: its certificate is not valid"):
                async with door.tunnel("private.example:443"):
                    pass
    assert origins["tls"].reached == [PRIVATE]


@pytest.mark.parametrize("proxy", [None, UpstreamProxy(host="10.9.9.9", port=3990)])
async def test_it_is_reached_there_without_a_look_up_or_a_proxy(
    at: At, world: World, origins: dict[str, Origin], proxy: UpstreamProxy | None
) -> None:
    async with at(proxy=proxy) as door:
        await door.open(audit=Audit.FULL)
        assert (await door.get(f"http://{HOST}/")).startswith(b"HTTP/1.1 200 ")
        async with door.tunnel(f"{HOST}:443"):
            pass
    assert (origins["http"].reached, origins["tls"].reached) == ([PRIVATE], [PRIVATE])
    assert world.lookups == []


async def test_a_port_takes_the_place_of_the_one_that_is_asked_for(at: At, origins: dict[str, Origin]) -> None:
    async with at(f"{PRIVATE}:443") as door:
        await door.open(audit=Audit.FULL, ports=(8443,))
        async with door.tunnel(f"{HOST}:8443"):
            pass
        assert door.records[0].port == 8443
    assert origins["tls"].reached == [PRIVATE]


@pytest.mark.parametrize("is_set", [False, True])
async def test_the_hosts_own_place_of_authorities_holds(
    world: World,
    settings: EgressSettings,
    origins: dict[str, Origin],
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
    *,
    is_set: bool,
) -> None:
    with tempfile.NamedTemporaryFile("w") as file, socket.create_server(("127.0.0.1", 0)) as listener:
        file.write(authority.pem)
        file.flush()
        Path(file.name).chmod(0o644)
        if is_set:
            monkeypatch.setenv("SSL_CERT_FILE", os.path.relpath(file.name))
        async with EgressProcess(replace(settings, authorities=""), command_prefix=world.command_prefix) as process:
            door = Door(process, listener)
            await door.open(audit=Audit.FULL)
            if is_set:
                async with door.tunnel(f"{HOST}:443"):
                    return
            with pytest.raises(ValueError, match="its certificate is not valid for it"):
                async with door.tunnel(f"{HOST}:443"):
                    pass
