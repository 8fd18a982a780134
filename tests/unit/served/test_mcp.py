"""Assistants hand tasks over by HTTP, with a token, as the protocol's own client does."""

import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from mcp import Client as McpClient
from mcp.client.streamable_http import streamable_http_client

from cloister.model.token import Role

from .conftest import Server

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def assistant(server: Server, role: Role) -> AsyncIterator[McpClient]:
    headers = {"Authorization": f"Bearer {await server.token(role)}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=60) as http,
        McpClient(streamable_http_client(f"{server.address}/mcp", http_client=http)) as client,
    ):
        yield client


async def test_a_task_is_handed_over_followed_and_gone_on_with(server: Server) -> None:
    told: list[str | None] = []

    async def progress(_: float, __: float | None, message: str | None) -> None:
        told.append(message)

    async with assistant(server, Role.MEMBER) as client:
        asked = {"repository": server.repository, "prompt": "fix the test", "command": "make fix"}
        created = await called(client, "create_task", asked)
        task = {"task": created["task"]}
        ended = await client.call_tool("wait_for_task", task, progress_callback=progress)
        assert ended.structured_content["verdict"] == "succeeded"
        assert "phase agent" in told
        assert "+two" in (await client.call_tool("get_diff", task)).content[0].text
        again = await called(client, "follow_up", {**task, "prompt": "and a test"})
        assert again["turn"] == 2
        assert (await called(client, "wait_for_task", task))["verdict"] == "succeeded"
        assert (await called(client, "cancel_task", task))["state"] == "finished", "harmless when it is over"
        [listed] = (await called(client, "list_tasks", {}))["result"]
        assert listed["task"] == created["task"]
        [diff] = (await client.read_resource(f"cloister://tasks/{created['task']}/diff")).contents
        assert "+two" in diff.text


async def test_a_token_may_there_what_it_may_elsewhere(server: Server) -> None:
    asked = {"repository": server.repository, "prompt": "fix the test", "command": "make fix"}
    async with assistant(server, Role.VIEWER) as client:
        refused = await client.call_tool("create_task", asked)
        assert refused.is_error
        assert "this takes a role of member" in refused.content[0].text
        assert (await called(client, "list_tasks", {}))["result"] == []


async def test_the_program_on_the_page_runs(server: Server) -> None:
    page = (Path(__file__).parents[3] / "docs/how-to/mcp.md").read_text()
    [program] = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    for shown, here in (
        ("http://127.0.0.1:8450", server.address),
        ("https://git.example/team/proj.git", server.repository),
    ):
        program = program.replace(shown, here)
    variables = {**os.environ, "CLOISTER_TOKEN": await server.token(Role.MEMBER)}
    done = await anyio.run_process([sys.executable, "-c", program], env=variables, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.decode().startswith("succeeded\ndiff --git a/a.txt b/a.txt\n")


async def called(client: McpClient, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    done = await client.call_tool(tool, arguments)
    assert not done.is_error, done
    content: dict[str, Any] = done.structured_content
    return content
