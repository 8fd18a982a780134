"""Logs are where the forge says, if anything may be there, and of them the end."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from urllib.parse import urlsplit

import pytest

from cloister.egress.addresses import classify
from cloister.forges.github.credentials import LoginSource
from cloister.forges.github.job_logs import LONGEST_TAIL_BYTES, JobLogs
from cloister.forges.reach import Reach
from cloister.testing.github.hosted import CheckRunOnForge

from .conftest import Forge


@asynccontextmanager
async def opened(
    forge: Forge, asked: list[tuple[str, int]], source: LoginSource | None = None
) -> AsyncIterator[JobLogs]:
    forge.shop.runs[5] = CheckRunOnForge(id=5, head="0" * 40, name="build", log=b"begin\nboom\n")
    own = urlsplit(forge.github.url)
    reach = Reach(classify=lambda address: classify(address, (), ()), named={(own.hostname or "", own.port or 0)})

    async def find(host: str, port: int) -> Sequence[str]:
        asked.append((host, port))
        return await reach.find(host, port)

    async with forge.open(source or LoginSource()) as host:
        yield JobLogs(host, find)


async def test_the_end_of_a_log_is_taken_without_a_login(forge: Forge) -> None:
    async with opened(forge, []) as logs:
        assert await logs.tail(forge.repository, 5) == "begin\nboom\n"
        rest = b"x" * (LONGEST_TAIL_BYTES - 10) + b"\nboom\n"
        forge.shop.runs[5].log = b"a line with s3cr3t\n" + rest
        assert await logs.tail(forge.repository, 5) == rest.decode(), "of a line that is cut nothing is left"
        assert await logs.tail(forge.repository, 6) == ""


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1:1/log",
        "https://127.0.0.1:1/log",
        "https://169.254.169.254/latest/meta-data",
        "https://[::ffff:127.0.0.1]/log",
        "https://127.1/log",
        "https://ann@127.0.0.1/log",
        "file:///etc/passwd",
        "//127.0.0.1/log",
        "https:///log",
    ],
)
async def test_it_is_not_looked_for_where_no_log_is(forge: Forge, address: str) -> None:
    forge.github.log_address = address
    asked: list[tuple[str, int]] = []
    async with opened(forge, asked) as logs:
        assert await logs.tail(forge.repository, 5) == ""
        assert len(asked) <= 1, "it was judged, and not dialled"


async def test_an_app_that_may_not_read_logs_gets_none(forge: Forge) -> None:
    permissions = {key: value for key, value in forge.app.permissions.items() if key != "actions"}
    forge.github.accounts.apps[0] = replace(forge.app, permissions=permissions)
    async with opened(forge, [], LoginSource(app=7)) as logs:
        assert await logs.tail(forge.repository, 5) == ""
    forge.github.accounts.apps[0] = forge.app
    async with opened(forge, [], LoginSource(app=7)) as logs:
        assert await logs.tail(forge.repository, 5) == "begin\nboom\n", "the twin"
