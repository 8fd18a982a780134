"""What the host's package clients are asked, with programs in their place that fail in every way."""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from cloister.egress import registries
from cloister.egress.indexes import PackageIndexError
from cloister.egress.registries import registries_of_host
from cloister.model.network import parse_host

NOTHING: frozenset[str] = frozenset()
DAY = 24 * 3600

Install = Callable[[str, str], Path]

PIP = """
case "$*" in
    "-I -m pip config list") cat "$0.config" ;;
    "-I -c "*) echo "https://default.example/simple https://files.example" ;;
    *) exit 2 ;;
esac
"""
NPM = '[ "$*" = "config get registry" ] && echo https://npm.example:4873/'
APT = """
[ "$*" = 'indextargets --no-release-info --format $(SITE)' ] || exit 2
printf '%s\\n' http://apt.example/debian file:/srv/debian
"""


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "registries.json"


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Puts a shell script where a client is looked for. No other client is there."""
    folder = tmp_path / "bin"
    folder.mkdir()
    # `sh`, `cat` and `sleep` are found by the scripts, but nothing by us: they set a path of their own.
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    clients = [(ask, None) for ask, _ in registries._CLIENTS]  # the indexes of these tests are nowhere
    monkeypatch.setattr(registries, "_CLIENTS", clients)

    def write(name: str, script: str) -> Path:
        program = folder / name
        program.write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\necho asked >> {tmp_path}/{name}.log\n{script}\n")
        program.chmod(0o755)
        return program

    return write


def install_pip(install: Install, config: str) -> None:
    Path(f"{install('python', PIP)}.config").write_text(config)


def times_asked(cache: Path, client: str) -> int:
    log = cache.with_name(f"{client}.log")
    return len(log.read_text().splitlines()) if log.exists() else 0


@pytest.mark.usefixtures("install")
async def test_without_clients_there_are_no_registries(cache: Path) -> None:
    assert await registries_of_host(cache) == NOTHING


@pytest.mark.parametrize("fault", ["exit 1", "kill -9 $$", "echo undefined", "printf '\\377\\000'", "echo https://["])
async def test_a_client_that_fails_takes_nothing_from_the_others(cache: Path, install: Install, fault: str) -> None:
    for name in ("python", "npm"):
        install(name, fault)
    install("apt-get", APT)
    assert await registries_of_host(cache) == {"apt.example"}


async def test_what_a_failing_client_prints_is_not_used(cache: Path, install: Install) -> None:
    install("npm", f"{NPM}; exit 1")
    assert await registries_of_host(cache) == NOTHING


async def test_a_client_that_cannot_be_executed_adds_nothing(cache: Path, install: Install) -> None:
    install("npm", NPM).write_text("#!/nonexistent/shell\n")
    assert await registries_of_host(cache) == NOTHING


async def test_a_silent_client_is_killed_with_what_it_started(
    cache: Path, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registries, "_ANSWER_SECONDS", 0.5)
    os.mkfifo(alive := cache.with_name("alive"))
    install("npm", f"sleep 60 > {alive} & wait")
    install("apt-get", "exec sleep 60")
    end = os.open(alive, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert await registries_of_host(cache) == NOTHING
        with anyio.fail_after(30):
            await anyio.wait_readable(end)  # once `sleep` had it open for writing, and nobody has any more
        assert os.read(end, 1) == b""
    finally:
        os.close(end)


@pytest.mark.parametrize(
    "address",
    [
        *("http://127.0.0.1/", "http://[::1]/", "http://2130706433/", "http://0x7f.1/", "file:///srv/simple"),
        *("file://share.example/simple", "ftp://ftp.example/", "registry.example", "//registry.example/", "https:///x"),
        *("https://*.example/", "https://a_b.example/", "https://ex%61mple/"),
    ],
)
async def test_what_names_no_web_host_is_left_out(cache: Path, install: Install, address: str) -> None:
    install("npm", f"echo '{address}'")
    assert await registries_of_host(cache) == NOTHING


async def test_no_file_of_the_current_directory_has_a_say(
    cache: Path, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = cache.with_name("repository")
    (repository / "bin").mkdir(parents=True)
    install("npm", NPM).rename(repository / "bin/npm")
    install("apt-get", "echo http://$(pwd | tr / r).example/")
    monkeypatch.chdir(repository)
    monkeypatch.setenv("PATH", f"bin:./bin::{os.environ['PATH']}")
    assert await registries_of_host(cache) == {"r.example"}


async def test_all_clients_are_asked(cache: Path, install: Install) -> None:
    install_pip(install, "global.cert='/etc/ssl/ca.pem'\n")
    install("npm", NPM)
    install("apt-get", APT)
    install("go", '[ "$*" = "env GOPROXY" ] && echo "https://go.example|https://two.example,direct"')
    install("gem", '[ "$*" = "sources --list" ] && printf "%s\\n" "*** CURRENT SOURCES ***" "" https://gem.example/')
    python = {"default.example", "files.example"}
    assert await registries_of_host(cache) == python | {f"{it}.example" for it in ("npm", "apt", "go", "two", "gem")}


async def test_where_an_index_has_its_files_is_followed(
    cache: Path, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def files(index: str) -> list[str]:
        if index.startswith("https://broken"):
            raise PackageIndexError(index)
        return [index.replace("npm.example:4873", "tarballs.example")]

    followed = (registries._ask_pip, registries._ask_npm)
    clients = [(ask, files if ask in followed else None) for ask, _ in registries._CLIENTS]
    monkeypatch.setattr(registries, "_CLIENTS", clients)
    install("npm", NPM)
    install("apt-get", APT)
    install_pip(install, "global.index-url='https://broken.example/simple https://mirror.example/simple'\n")
    expected = {f"{it}.example" for it in ("npm", "tarballs", "apt", "broken", "mirror")}
    assert await registries_of_host(cache) == expected


@pytest.mark.parametrize(
    ("config", "hosts"),
    [
        (":env:.index-url='https://User:pass@Mirror.Example.:8443/simple'", {"mirror.example"}),
        ("global.index-url='https://a.example/'\ninstall.index-url='https://b.example/'", {"a.example", "b.example"}),
        (
            "global.extra-index-url='https://a.example/ file:///srv\\nhttps://b.example/'",
            {"default.example", "files.example", "a.example", "b.example"},
        ),
        ("global.index-url=https://unquoted.example/", {"default.example", "files.example"}),
        ("global.index-url='file:///srv/simple'", set()),
    ],
)
async def test_pips_defaults_count_where_it_has_no_index_of_its_own(
    cache: Path, install: Install, config: str, hosts: set[str]
) -> None:
    install_pip(install, config)
    assert await registries_of_host(cache) == hosts
    assert "pass" not in cache.read_text()


@pytest.mark.parametrize(
    "broken",
    [
        *("", "{", "[]", "null", '{"hosts": 5, "complete": true}', '{"hosts": [5], "complete": true}'),
        *('{"hosts": ["Npm.Example"], "complete": true}', '{"hosts": ["10.0.0.1"], "complete": true}'),
        '{"hosts": ["old.example"]}',
    ],
)
async def test_a_cache_that_is_not_ours_is_not_used(cache: Path, install: Install, broken: str) -> None:
    cache.write_text(broken)
    install("npm", NPM)
    assert await registries_of_host(cache) == {"npm.example"}
    assert json.loads(cache.read_text())["hosts"] == ["npm.example"]


async def test_a_cache_that_cannot_be_written_is_no_error(cache: Path, install: Install) -> None:
    install("npm", NPM)
    cache.mkdir()
    assert await registries_of_host(cache) == {"npm.example"}
    assert await registries_of_host(cache / "absent" / "registries.json") == {"npm.example"}
    assert [path.name for path in cache.parent.glob("*.draft")] == []


@pytest.mark.parametrize(
    ("script", "age", "asked"),
    [
        (NPM, 0.9 * DAY, 1),
        (NPM, 1.1 * DAY, 2),
        (NPM, -60, 2),
        ("exit 1", 60, 1),
        ("exit 1", 3600, 2),
    ],
)
async def test_an_answer_is_kept_for_a_day_and_a_failure_for_minutes(
    cache: Path, install: Install, script: str, age: float, asked: int
) -> None:
    install_pip(install, "")
    install("npm", script)
    first = await registries_of_host(cache)
    os.utime(cache, times=(time.time() - age,) * 2)
    assert await registries_of_host(cache) == first
    assert times_asked(cache, "npm") == asked


async def test_the_clients_of_this_machine_name_hosts(cache: Path) -> None:
    hosts = await registries_of_host(cache)
    assert hosts, "pip is there, since it installed this"
    assert {parse_host(host) for host in hosts} == hosts
    assert await registries_of_host(cache) == hosts
