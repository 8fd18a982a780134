"""The egress process, for real, in a world of its own."""

import os
import secrets
import socket
from collections.abc import AsyncIterator, Iterator

import pytest

from cloister.egress.authority import Authority as ProxyAuthority
from cloister.egress.authority import load_authority
from cloister.egress.messages import EgressSettings
from cloister.egress.process import EgressProcess

from .door import Door
from .origin import Authority, Origin, answer_by_path, answer_https, answer_with_echo, make_authority
from .world import World, made_world, remove_worlds_of_the_dead

PREFIX = "cloister-test-"
PUBLIC = "93.184.215.14"
PUBLIC_6 = "2606:2800:21f::1"
NAMES = ["example.com", "www.example.com", "other.org"]


@pytest.fixture(scope="session")
def namespace() -> Iterator[World]:
    if os.geteuid() != 0:
        pytest.skip("a network namespace of its own needs root")
    remove_worlds_of_the_dead(PREFIX)
    with made_world(f"{PREFIX}{os.getpid()}-{secrets.token_hex(4)}") as world:
        yield world


@pytest.fixture
def world(namespace: World) -> World:
    """The world with names that any test may use."""
    namespace.lookups.clear()
    namespace.zone.clear()
    namespace.zone.update({name: [PUBLIC, PUBLIC_6] for name in NAMES})
    return namespace


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("authority"), NAMES)


@pytest.fixture(scope="session")
def servers(namespace: World, authority: Authority) -> dict[str, Origin]:
    """Origins at every address of the world."""
    made = {
        "http": Origin(namespace.listener("0.0.0.0", 80), answer_by_path),
        "http6": Origin(namespace.listener("::", 80), answer_by_path),
        "tls": Origin(namespace.listener("0.0.0.0", 443), answer_https, authority.server_context),
        "raw": Origin(namespace.listener("0.0.0.0", 8080), answer_with_echo),
    }
    for server in made.values():
        server.start()
    return made


@pytest.fixture
def origins(servers: dict[str, Origin]) -> dict[str, Origin]:
    for server in servers.values():
        server.clear()
    return servers


@pytest.fixture(scope="session")
def own_authority(tmp_path_factory: pytest.TempPathFactory) -> ProxyAuthority:
    """The installation's, which reads HTTPS."""
    return load_authority(tmp_path_factory.mktemp("installation"))


@pytest.fixture
def settings(authority: Authority, own_authority: ProxyAuthority) -> EgressSettings:
    """Short waits where a test waits for their end."""
    return EgressSettings(
        response_seconds=1.0,
        dial_seconds=3.0,
        request_seconds=2.0,
        idle_seconds=0.5,
        authority=own_authority,
        authorities=authority.pem,
    )


@pytest.fixture
async def egress(world: World, settings: EgressSettings) -> AsyncIterator[EgressProcess]:
    async with EgressProcess(settings, command_prefix=world.command_prefix) as process:
        yield process


@pytest.fixture
async def door(egress: EgressProcess, origins: dict[str, Origin]) -> AsyncIterator[Door]:
    """A sandbox's door, not yet opened; the origins are there."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        yield Door(egress, listener)
