"""Repositories behind a real sshd: fetched with the host's keys, of which nothing gets into a sandbox."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from cloister.egress.addresses import classify
from cloister.errors import CloisterError, DeniedError, NotFoundError, RepositoryError, UsageError
from cloister.forges.local import LocalForge
from cloister.forges.reach import Reach
from cloister.forges.ssh import ssh_command
from cloister.model.task import Repository, Revision
from cloister.repository_address import parse_repository

from .installation import Installation, printed
from .project import Project
from .ssh_server import USER, SshServer, make_key, running_agent, running_ssh_server

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="sandboxes, and another user's files, need root")


@pytest.fixture
def server(tmp_path: Path, project: Project) -> Iterator[SshServer]:
    """Serves the project, as `project` in its user's home."""
    with running_ssh_server(tmp_path / "ssh", project.path.parent) as running:
        yield running


@pytest.fixture
def resolved(tmp_path: Path, server: SshServer):
    """Resolve an address under a configuration, as `run` does first of all."""

    async def resolve(address: str, config: Path) -> Revision:
        forge = LocalForge(tmp_path / "forge", ssh_config=config)
        return await forge.resolve(parse_repository(address), None)

    return resolve


def url_of(server: SshServer, path: str | None = None) -> str:
    return f"ssh://{USER}@127.0.0.1:{server.port}{path or server.home / 'project'}"


async def _refusal(attempt) -> CloisterError:
    with pytest.raises(CloisterError) as caught:
        await attempt
    return caught.value


async def test_a_host_whose_key_is_not_known_is_refused_until_it_is(tmp_path: Path, server: SshServer, resolved):
    known_hosts = tmp_path / "none yet".replace(" ", "-")
    config = server.client_config(key=server.place / "key", known_hosts=known_hosts, more="StrictHostKeyChecking no")
    refusal = await _refusal(resolved(url_of(server), config))
    assert isinstance(refusal, RepositoryError)
    assert refusal.message == "the host key of 127.0.0.1 is not known here"
    assert refusal.hint is not None
    assert refusal.hint.endswith(f": ssh -p {server.port} {USER}@127.0.0.1")
    assert not known_hosts.exists(), "it was not made known by us"
    shutil.copy(server.place / "known_hosts", known_hosts)
    assert (await resolved(url_of(server), config)).ref == "main", "the twin"


async def test_a_host_whose_key_has_changed_is_refused(tmp_path: Path, server: SshServer, resolved) -> None:
    other = make_key(tmp_path / "another_host_key").with_suffix(".pub").read_text()
    known_hosts = tmp_path / "known_hosts"
    known_hosts.write_text(f"[127.0.0.1]:{server.port} {other}")
    config = server.client_config(key=server.place / "key", known_hosts=known_hosts)
    refusal = await _refusal(resolved("forge:project", config))
    assert "is not the one that is known" in refusal.message
    assert f"ssh-keygen -R '[127.0.0.1]:{server.port}'" in (
        (await _refusal(resolved(url_of(server), config))).hint or ""
    )


async def test_a_key_that_the_host_does_not_take_is_refused(server: SshServer, resolved) -> None:
    refusal = await _refusal(resolved(url_of(server), server.client_config(key=server.place / "other_key")))
    assert isinstance(refusal, RepositoryError)
    assert "127.0.0.1 accepts no key that Cloister has" in refusal.message
    assert "publickey" in refusal.message


async def test_a_path_without_a_repository_and_a_port_without_a_server(server: SshServer, resolved) -> None:
    config = server.client_config(key=server.place / "key")
    assert isinstance(await _refusal(resolved("forge:nothing", config)), NotFoundError)
    refusal = await _refusal(resolved("ssh://git@127.0.0.1:1/x", config))
    assert refusal.message.startswith("127.0.0.1 cannot be reached: connect to host 127.0.0.1 port 1: ")


HOSTILE = ("-oProxyCommand=touch${IFS}%s", "git@-oProxyCommand=touch${IFS}%s", "x`touch${IFS}%s`", "x$(touch${IFS}%s)")


async def test_a_hostile_address_starts_nothing(tmp_path: Path, installation: Installation) -> None:
    canary = tmp_path / "canary"
    forge = LocalForge(tmp_path / "forge")
    for host in (form % canary for form in HOSTILE):
        for address in (f"ssh://{host}/x", f"ssh://{host}:22/x", f"{host}:x"):
            with pytest.raises(UsageError):
                parse_repository(address)
            with pytest.raises(UsageError):  # even when nobody looked before
                await forge.resolve(Repository(address=address, directory="x"), None)
    ran = installation.cloister("run", f"--repo=ssh://{HOSTILE[0] % canary}/x", "--command", "true", "do it")
    assert ran.code == 2, ran
    assert "a host's name is letters" in ran.stderr
    assert not canary.exists()


def test_the_canary_of_hostile_addresses_would_be_made(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    subprocess.run([*ssh_command(None), f"-oProxyCommand=touch {canary}", "host"], check=False, capture_output=True)
    assert canary.exists()


async def test_nothing_of_the_users_configuration_weakens_what_is_asked(tmp_path: Path, server: SshServer, resolved):
    more = f"""
ForwardAgent yes
ForwardX11 yes
RemoteCommand touch {tmp_path}/remote
PermitLocalCommand yes
LocalCommand touch {tmp_path}/local
LocalForward {tmp_path}/forwarded 127.0.0.1:{server.port}
ControlMaster auto
ControlPersist yes
ControlPath {tmp_path}/control
LogLevel QUIET
"""
    config = server.client_config(key=server.place / "key", more=more)
    assert (await resolved(url_of(server), config)).ref == "main"
    assert not {"remote", "local", "forwarded", "control"} & set(os.listdir(tmp_path))  # noqa: PTH208
    (tmp_path / "known_hosts").touch()
    config = server.client_config(known_hosts=tmp_path / "known_hosts", more=more)
    assert "not known here" in (await _refusal(resolved(url_of(server), config))).message


async def test_under_sudo_ssh_is_the_user_who_called(
    tmp_path: Path, server: SshServer, resolved, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in (tmp_path, *tmp_path.parents):
        folder.chmod(folder.stat().st_mode | 0o011)
    tmp_path.chmod(0o777)
    config = server.client_config(more=f'Match exec "id -u >{tmp_path}/user; env >{tmp_path}/env"')
    for sudo_uid, expected in (("65534", "65534\n"), ("", "0\n")):
        monkeypatch.setenv("SUDO_UID", sudo_uid)
        await _refusal(resolved(url_of(server), config))
        assert (tmp_path / "user").read_text() == expected
        (tmp_path / "user").unlink()
        (tmp_path / "env").unlink()


INSIDE = """
git remote get-url origin
cat a.txt
env | grep -ci ssh
ls -A /root/.ssh 2>&1 | wc -l
find / -xdev -type s 2>/dev/null | wc -l
grep -rlsF -e "PRIVATE KEY" /root /etc /home /tmp /run /cloister /workspace | wc -l
"""


def test_both_forms_are_fetched_by_the_agents_key_and_nothing_of_it_is_in_the_sandbox(
    installation: Installation, server: SshServer
) -> None:
    config = server.client_config()
    with running_agent(server.place / "key") as agent:
        installation.variables = {"CLOISTER_SSH_CONFIG": str(config), "SSH_AUTH_SOCK": agent}
        for address in (url_of(server), "forge:project"):
            ran = installation.cloister(*installation.task(INSIDE), "--repo", address)
            assert ran.code == 0, ran
            assert printed(ran.events) == f"{address}\none\n0\n1\n0\n0\n", "of ls, the 1 is what it complains"
    installation.variables["SSH_AUTH_SOCK"] = ""
    ran = installation.cloister(*installation.task(), "--repo", "forge:project")
    assert "accepts no key" in ran.stderr, "the twin: that key was in the agent alone"


async def test_a_host_that_a_token_names_is_held_to_its_address(tmp_path: Path, server: SshServer) -> None:
    async def found(host: str, port: int) -> list[IPv4Address]:
        return [IPv4Address("127.0.0.1")]

    known = (server.place / "known_hosts").read_text().replace("127.0.0.1", "git.example")
    (tmp_path / "known").write_text(known)
    config = server.client_config(key=server.place / "key", known_hosts=tmp_path / "known")
    named = parse_repository(f"ssh://{USER}@git.example:{server.port}/{server.home}/project", guarded=True)
    opened = Reach(classify=lambda _: None, look_up=found)
    assert await LocalForge(tmp_path / "forge", ssh_config=config, reach=opened).resolve(named, None)
    with pytest.raises(DeniedError, match="loopback"):
        closed = Reach(classify=classify, look_up=found)
        await LocalForge(tmp_path / "forge", ssh_config=config, reach=closed).resolve(named, None)
