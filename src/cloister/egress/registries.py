"""Which package registries this host is configured with: its own package clients are asked, and then their indexes."""

import ast
import json
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from subprocess import DEVNULL, PIPE
from urllib.parse import urlsplit

import anyio
import structlog
from anyio.abc import Process

from cloister.egress.indexes import PackageIndexError, files_of_npm_registry, files_of_simple_index
from cloister.model.network import parse_host

_ANSWER_SECONDS = 10.0
_FRESH_SECONDS = 24 * 3600.0
_FRESH_SECONDS_AFTER_FAILURE = 600.0

# pip has no command that tells its defaults. `-I` keeps PYTHON variables and the user's modules out.
_PIP_DEFAULTS = (
    "from pip._internal.models.index import PyPI as i; print(i.simple_url, f'https://{i.file_storage_domain}')"
)

_Ask = Callable[[], Awaitable[Sequence[str]]]
_Follow = Callable[[str], Awaitable[Sequence[str]]]

_log = structlog.get_logger(__name__)


class _ClientError(Exception):
    """A package client that is there did not say what it was asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """What the clients said together."""

    hosts: tuple[str, ...]
    complete: bool
    """No client failed."""


async def registries_of_host(cache: Path) -> frozenset[str]:
    """Return the hosts, as `parse_host` does, of the registries that pip, npm, apt, Go and gem use on this machine.

    Where the files of an index lie elsewhere, those hosts are among them. The clients are run as the operator runs
    them, but in the root directory, so that no file of a repository has a say. A client that is missing, fails or is
    silent for long adds nothing. `cache` keeps the answer for a day, and for ten minutes when a client failed; that it
    is absent, broken or cannot be written is no error.
    """
    answer = _recall(cache)
    if answer is None:
        answer = await _ask_all()
        with suppress(OSError):  # whoever comes next asks again
            _remember(cache, answer)
    return frozenset(answer.hosts)


async def _ask_all() -> _Answer:
    hosts: set[str] = set()
    failures: list[_ClientError] = []

    def add(addresses: Sequence[str]) -> None:
        hosts.update(host for address in addresses if (host := _address_to_host(address)) is not None)

    async def collect(ask: _Ask, follow: _Follow | None) -> None:
        try:
            addresses = await ask()
        except _ClientError as error:
            _log.warning("a package client does not say which registries it uses", error=str(error))
            failures.append(error)
            return
        add(addresses)
        if follow is None:
            return
        for address in addresses:
            try:
                add(await follow(address))
            except PackageIndexError as error:  # then the clients cannot use it either
                _log.info("a package index does not say where its files are", error=str(error))

    async with anyio.create_task_group() as tasks:
        for ask, follow in _CLIENTS:
            tasks.start_soon(collect, ask, follow)
    return _Answer(hosts=tuple(sorted(hosts)), complete=not failures)


async def _ask_pip() -> Sequence[str]:
    """Its defaults count only where no index is configured in their place."""
    configured = dict(_pip_settings(await _run(sys.executable, "-I", "-m", "pip", "config", "list")))
    indexes = [value for key, value in configured.items() if key.endswith(".index-url")]
    extra = [value for key, value in configured.items() if key.endswith(".extra-index-url")]
    if not indexes:
        indexes = [await _run(sys.executable, "-I", "-c", _PIP_DEFAULTS)]
    return " ".join(indexes + extra).split()


def _pip_settings(listed: str) -> Iterator[tuple[str, str]]:
    """Parse the lines of `pip config list`: a key with its section, `=`, and a string as Python writes it."""
    for line in listed.splitlines():
        key, _, value = line.partition("=")
        with suppress(ValueError, SyntaxError):
            yield key, str(ast.literal_eval(value))


async def _ask_npm() -> Sequence[str]:
    return (await _run("npm", "config", "get", "registry")).split()


async def _ask_apt() -> Sequence[str]:
    return (await _run("apt-get", "indextargets", "--no-release-info", "--format", "$(SITE)")).split()


async def _ask_go() -> Sequence[str]:
    return re.split(r"[,|\s]+", await _run("go", "env", "GOPROXY"))


async def _ask_gem() -> Sequence[str]:
    return (await _run("gem", "sources", "--list")).split()


_CLIENTS: Sequence[tuple[_Ask, _Follow | None]] = (
    (_ask_pip, files_of_simple_index),
    (_ask_npm, files_of_npm_registry),
    (_ask_apt, None),
    (_ask_go, None),
    (_ask_gem, None),
)
"""Each with what follows its index, where files may lie at other hosts."""


def _address_to_host(address: str) -> str | None:
    """Return the host of a web address; None for files, addresses of numbers, and what is no address at all."""
    try:
        parts = urlsplit(address)
        return parse_host(parts.hostname or "") if parts.scheme in ("http", "https") else None
    except ValueError:
        return None


async def _run(program: str, *arguments: str) -> str:
    """Return what a client prints, nothing when it is not installed. _ClientError when it fails."""
    environment = _environment()
    found = shutil.which(program, path=environment["PATH"])
    if found is None:
        return ""
    try:
        with anyio.fail_after(_ANSWER_SECONDS):
            return await _output_of((found, *arguments), environment)
    except (OSError, TimeoutError) as error:
        raise _ClientError(f"{program}: {error or 'no answer in time'}") from error


def _environment() -> dict[str, str]:
    """Return the operator's own, less our settings: they may hold a password.

    Nothing is looked for in the current directory, which may be a repository.
    """
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    path = os.pathsep.join(folder for folder in folders if folder.startswith("/"))
    others = {name: value for name, value in os.environ.items() if not name.startswith("CLOISTER_")}
    return {**others, "PATH": path}


async def _output_of(command: Sequence[str], environment: dict[str, str]) -> str:
    process = await anyio.open_process(
        command, cwd="/", env=environment, stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL, start_new_session=True
    )
    try:
        assert process.stdout is not None, "it is a pipe"
        output = b"".join([data async for data in process.stdout])
        status = await process.wait()
    except BaseException:
        _kill(process)
        raise
    finally:
        with anyio.CancelScope(shield=True):
            await process.aclose()
    if status != 0:
        raise _ClientError(f"{command[0]}: status {status}")
    return output.decode(errors="replace")


def _kill(process: Process) -> None:
    """Kill it and what it started: some clients are wrappers around others."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _recall(cache: Path) -> _Answer | None:
    """Return what is kept, None when it is too old, from the future, or not what `_remember` wrote."""
    try:
        age = time.time() - cache.stat().st_mtime
        kept = json.loads(cache.read_bytes())
        answer = _Answer(hosts=tuple(kept["hosts"]), complete=kept["complete"] is True)
        well_formed = all(parse_host(host) == host for host in answer.hosts)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    fresh_seconds = _FRESH_SECONDS if answer.complete else _FRESH_SECONDS_AFTER_FAILURE
    return answer if well_formed and 0 <= age < fresh_seconds else None


def _remember(cache: Path, answer: _Answer) -> None:
    draft = cache.with_name(f"{cache.name}.{os.getpid()}.draft")
    try:
        draft.write_text(json.dumps(asdict(answer)))
        draft.rename(cache)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
