"""What the commands talk to, and other programs may: Cloister's API, wherever it is. A module for each of its parts."""

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Self

import httpx
from starlette.types import ASGIApp

from cloister.api.in_process import InProcessTransport
from cloister.client.access import AccessCalls
from cloister.client.automation import AutomationCalls
from cloister.client.connection import ANSWER_SECONDS, Note, say_nothing
from cloister.client.environments import EnvironmentCalls
from cloister.client.forge import ForgeCalls
from cloister.client.secrets import SecretCalls
from cloister.client.stock import StockCalls
from cloister.client.tasks import TaskCalls

__all__ = ["Client"]


class Client(TaskCalls, EnvironmentCalls, SecretCalls, ForgeCalls, StockCalls, AccessCalls, AutomationCalls):
    """Speaks the API. Takes and returns plain data; raises CloisterError, as the service itself would.

    UnreachableError when nobody answers.
    """

    __slots__ = ()

    @classmethod
    @asynccontextmanager
    async def connect(
        cls, server: str | None = None, *, token: str | None = None, note: Note = say_nothing
    ) -> AsyncIterator[Self]:
        """Talk to the server at that address, such as `https://cloister.example`.

        `note` is told, in a sentence, of files of a repository on this machine that are not committed, so not sent.

        By default to the one that `CLOISTER_SERVER` and `CLOISTER_TOKEN` name, or else to that of this machine's state
        directory, as its owner.
        """
        if server is None:
            server, token = os.environ.get("CLOISTER_SERVER"), token or os.environ.get("CLOISTER_TOKEN")
        if server is None:
            from cloister.settings_files import load_settings  # commands have read them already

            async with cls.over_socket(load_settings(None).socket) as client:
                yield client
            return
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with httpx.AsyncClient(base_url=server, headers=headers, timeout=ANSWER_SECONDS) as http:
            yield cls(http, _is_far=True, _note=note)

    @classmethod
    @asynccontextmanager
    async def over_socket(cls, path: Path) -> AsyncIterator[Self]:
        """Talk to the server of a state directory, as its owner, over the socket in it."""
        transport = httpx.AsyncHTTPTransport(uds=str(path))
        async with httpx.AsyncClient(base_url="http://cloister", transport=transport, timeout=ANSWER_SECONDS) as http:
            yield cls(http)

    @classmethod
    @asynccontextmanager
    async def in_process(
        cls, app: ASGIApp, *, headers: Mapping[str, str] = MappingProxyType({})
    ) -> AsyncIterator[Self]:
        """Talk to an application in this process."""
        transport = InProcessTransport(app)
        async with httpx.AsyncClient(base_url="http://cloister", transport=transport, headers=headers) as http:
            yield cls(http, _is_near=True)
