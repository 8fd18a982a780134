"""Repositories that callers from elsewhere name: judged, looked up once, and held to."""

import dataclasses
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from cloister.egress.addresses import classify
from cloister.errors import CloisterError, DeniedError, RepositoryError, UsageError
from cloister.forges.local import LocalForge
from cloister.forges.reach import Reach
from cloister.forges.ssh_reach import pinned_options
from cloister.model.ssh_address import SshAddress
from cloister.model.upstreams import GivenAddress
from cloister.repository_address import is_path, parse_repository
from cloister.settings import Settings
from cloister.wiring import reach_of

pytestmark = pytest.mark.anyio

PUBLIC = "93.184.216.34"


def _answers(*answers: Sequence[str]) -> Callable[[str, int], Awaitable[Any]]:
    """Return a resolver that gives these answers in turn, the last one for ever."""
    left = list(answers)

    async def look_up(host: str, port: int) -> Any:
        found = left.pop(0) if len(left) > 1 else left[0]
        if not found:
            raise RepositoryError(f"the address of {host} was not found")
        return [ip_address(address) for address in found]

    return look_up


def _reach(*answers: Sequence[str], **changes: Any) -> Reach:
    return Reach(classify=classify, look_up=_answers(*answers or [[PUBLIC]]), **changes)


CLOSED = (
    "127.0.0.1 127.1 2130706433 0x7f.1 0177.0.0.1 0 0.0.0.0 10.0.0.1 172.16.0.1 192.168.1.1 100.64.0.1 "
    "169.254.169.254 169.254.170.2 100.100.100.200 192.0.0.1 198.18.0.1 224.0.0.1 240.0.0.1 168.63.129.16 [::] [::1] "
    "[::ffff:127.0.0.1] [::127.0.0.1] [64:ff9b::7f00:1] [64:ff9b:1::1] [2002:7f00:1::] [2001::1] [fe80::1] "
    "[fe80::1%25eth0] [fc00::1] [fd00:ec2::254] [fec0::1] [ff02::1] "
    "localhost. metadata.google.internal. a_b.example b%61d.example"
).split()


@pytest.mark.parametrize("host", CLOSED)
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_addresses_that_are_nobodys_business_are_refused_however_they_are_written(scheme: str, host: str) -> None:
    with pytest.raises(DeniedError):
        await _reach().pin(f"{scheme}://{host}/r.git")


@pytest.mark.parametrize(
    "answer", [["127.0.0.1"], ["10.0.0.1"], [PUBLIC, "10.0.0.1"], ["::1", PUBLIC], ["169.254.169.254"], ["fd00::1"]]
)
async def test_a_name_that_leads_there_is_refused_also_when_it_leads_elsewhere_too(answer: list[str]) -> None:
    with pytest.raises(DeniedError, match=r"may be at git\.example: its address"):
        await _reach(answer).pin("https://git.example/r.git")


async def test_what_is_public_is_pinned_to_where_it_was_found() -> None:
    reach = _reach([PUBLIC, "2606:2800:220:1::1"])
    pinned = await reach.pin("https://git.example/r.git")
    assert pinned["GIT_CONFIG_KEY_0"] == "http.curloptResolve"
    assert pinned["GIT_CONFIG_VALUE_0"] == f"git.example:443:{PUBLIC},[2606:2800:220:1::1]"
    assert (await reach.pin("http://git.example:8080/r"))["GIT_CONFIG_VALUE_0"].startswith("git.example:8080:")
    assert await reach.pin(f"http://{PUBLIC}/r") == {}


async def test_settings_open_networks_and_single_hosts(tmp_path: Path) -> None:
    closed = reach_of(Settings(state=tmp_path))
    opened = reach_of(
        Settings(state=tmp_path, allow_private=["10.1.0.0/16"], upstream_addresses={"git.corp.example": "10.9.0.1"})
    )
    for url in ("http://10.1.0.1/r", "http://git.corp.example/r"):
        with pytest.raises(CloisterError):
            await dataclasses.replace(closed, look_up=_answers([])).pin(url)
    assert await opened.pin("http://10.1.0.1/r") == {}
    assert (await opened.pin("http://git.corp.example/r"))["GIT_CONFIG_VALUE_0"] == "git.corp.example:80:10.9.0.1"
    for host in ("10.9.0.1", "127.0.0.1", "169.254.169.254"):
        with pytest.raises(DeniedError):
            await opened.pin(f"http://{host}/r")
    given = _reach(given={"git.corp.example": GivenAddress(address="10.9.0.1", port=8443)})
    assert await given.find("git.corp.example", 8443) == ["10.9.0.1"]
    with pytest.raises(DeniedError):
        await given.find("git.corp.example", 22)


async def test_what_only_a_proxy_can_find_is_nowhere_for_a_git_that_passes_it_by(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(RepositoryError):
        await _reach([]).pin("https://git.example/r")
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    assert (await _reach([]).pin("https://git.example/r"))["GIT_CONFIG_VALUE_0"] == "git.example:443:192.0.2.1"
    with pytest.raises(DeniedError):
        await _reach(["10.0.0.1"]).pin("https://git.example/r")


async def test_git_goes_where_the_name_was_found(source: Path, server: str, tmp_path: Path) -> None:
    port = server.rpartition(":")[2]
    named = parse_repository(f"http://git.example:{port}/{source.name}/.git", guarded=True)
    twice = _answers(["127.0.0.1"], ["192.0.2.9"])  # the second answer would lead git astray
    open_to_all = Reach(classify=lambda _: None, look_up=twice)
    forge = LocalForge(tmp_path / "state", reach=open_to_all)
    revision = await forge.resolve(named, None)
    assert (await forge.mirror(named, revision.commit)).is_dir()
    with pytest.raises(DeniedError, match="loopback"):
        strict = Reach(classify=classify, look_up=_answers(["127.0.0.1"]))
        await LocalForge(tmp_path / "other", reach=strict).resolve(named, None)
    assert not (tmp_path / "other").exists()


async def test_what_the_owner_names_may_be_anywhere_and_nobody_elses_path_is_one(
    source: Path, server: str, tmp_path: Path
) -> None:
    forge = LocalForge(tmp_path / "state", reach=_reach())
    address = f"{server}/{source.name}/.git"
    with pytest.raises(DeniedError, match="loopback"):
        await forge.resolve(parse_repository(address, guarded=True), None)
    await forge.resolve(parse_repository(address), None)
    for path in ("/x", "file:///x", "FILE:///x", "File:/x"):
        assert is_path(path), path
    assert not is_path("filet:x")


async def test_a_redirect_leads_nowhere(source: Path, server: str, tmp_path: Path) -> None:
    forge = LocalForge(tmp_path / "state", reach=Reach(classify=lambda _: None))
    with pytest.raises(RepositoryError):
        await forge.resolve(parse_repository(f"{server}/moved/.git", guarded=True), None)
    await forge.resolve(parse_repository(f"{server}/{source.name}/.git", guarded=True), None)


@pytest.mark.parametrize(
    "address", ["ext::sh -c id", "fd::17", "-oProxyCommand=id", "ssh://-oProxyCommand=id/x", "git://h/x"]
)
def test_what_runs_programs_is_no_address(address: str) -> None:
    with pytest.raises(UsageError):
        parse_repository(address, guarded=True)


async def test_behind_ssh_the_same_holds_except_for_what_its_configuration_says(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(
        "Host forge\n  HostName 127.0.0.1\nHost jumped.example\n  ProxyJump bastion.example\n"
        "Host alias.example\n  HostKeyAlias known\n"
    )

    async def options(host: str, port: int | None = None, *answer: str) -> Sequence[str]:
        address = SshAddress(user="git", host=host, port=port, path="r")
        return await pinned_options(address, _reach(answer or [PUBLIC]), config)

    for host in ("127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "127.1", "2130706433", "0x7f.1", "0X7f000001"):
        with pytest.raises(DeniedError):
            await options(host)
    with pytest.raises(DeniedError):
        await options("git.example", None, "10.0.0.1")
    assert list(await options("git.example"))[:2] == [f"-oHostName={PUBLIC}", "-oHostKeyAlias=git.example"]
    assert "-oHostKeyAlias=[git.example]:2222" in await options("git.example", 2222)
    assert "-oHostKeyAlias=known" in await options("alias.example")
    assert await options("forge") == await options("jumped.example") == ()
