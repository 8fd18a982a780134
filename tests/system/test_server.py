"""The server as a process, with real sandboxes: commands go to it, and the next one takes over what it leaves."""

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import httpx2
import pytest
from mcp import Client as McpClient
from mcp import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from .installation import CLOISTER, QUIET, Installation, printed

PACED = "mkfifo /cloister/out/gate; echo first; read -r _ </cloister/out/gate; echo second; echo two >a.txt"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@contextmanager
def serving(installation: Installation, *options: str, config: Path | None = None) -> Iterator["subprocess.Popen[str]"]:
    """A server that listens at its socket, and with options or settings at an address too."""
    named = ("--config", config) if config else ()
    with installation.started(*named, "serve", *options) as command:
        stdout = command.process.stdout
        assert stdout is not None
        while "cloister.sock" not in (line := stdout.readline()) or options or config:
            assert line, command.end()
            if "http://" in line:
                break
        reading = threading.Thread(target=stdout.read, daemon=True)
        reading.start()
        yield command.process
        if command.process.poll() is None:
            command.process.send_signal(signal.SIGTERM)
            assert command.process.wait(timeout=30) == 0


def test_commands_go_to_the_server(installation: Installation) -> None:
    with serving(installation):
        ran = installation.cloister(*installation.task("echo two >a.txt; echo done"))
        assert ran.code == 0, ran
        task = str(ran.events[-1]["task"])
        assert printed(ran.events) == "done\n"
        assert "+two" in installation.cloister("diff", task).stdout
        assert installation.cloister("task", "list").stdout.startswith(f"{task}\tsucceeded")
        second = installation.cloister("serve")
        assert (second.code, "a server is running on" in second.stderr) == (2, True), second


def until_drained(installation: Installation) -> None:
    """Wait until the server has heard that it shall end."""
    over_socket = httpx2.HTTPTransport(uds=str(installation.state / "cloister.sock"))
    with httpx2.Client(transport=over_socket, timeout=60) as http:
        for _ in range(600):
            if "takes no more attempts" in http.get("http://cloister/readyz").text:
                return
            time.sleep(0.1)
    raise AssertionError("it never heard")


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGTERM])
def test_a_task_outlives_the_server_that_was_killed(installation: Installation, signal_number: int) -> None:
    installation.variables["CLOISTER_DRAIN"] = "0s"
    with serving(installation) as first, installation.started(*installation.task(PACED)) as command:
        started = command.until("output", text="first")
        first.send_signal(signal_number)
        assert first.wait(timeout=60) == (0 if signal_number == signal.SIGTERM else -signal.SIGKILL)
        gate = installation.paths.sandbox(started["attempt"]) / "root" / "cloister" / "out" / "gate"
        gate.write_text("go\n")
        with serving(installation):
            finished = command.until("task_finished")
            assert command.end().code == 0
            assert finished["verdict"] == "succeeded"
            assert printed(command.events) == "first\nsecond\n", "each line once, over both servers"
            assert [event["seq"] for event in command.events] == sorted({event["seq"] for event in command.events})
            assert "+two" in installation.cloister("diff", command.task).stdout


def test_a_server_that_is_asked_to_end_lets_its_attempts_end_and_starts_no_more(installation: Installation) -> None:
    installation.variables["CLOISTER_DRAIN"] = "1h"
    with serving(installation) as first, installation.started(*installation.task(PACED)) as command:
        started = command.until("output", text="first")
        first.send_signal(signal.SIGTERM)
        until_drained(installation)
        later = installation.cloister(*installation.task("echo three >a.txt"), "--detach").events[0]["task"]
        gate = installation.paths.sandbox(started["attempt"]) / "root" / "cloister" / "out" / "gate"
        gate.write_text("go\n")
        assert command.until("task_finished")["verdict"] == "succeeded"
        assert command.end().code == 0
        assert first.wait(timeout=60) == 0
        assert "is queued" in installation.cloister("task", "show", str(later)).stdout
        with serving(installation):
            assert installation.cloister("task", "wait", str(later)).code == 0


def test_a_server_ends_in_time_while_it_is_followed(installation: Installation) -> None:
    installation.variables["CLOISTER_DRAIN"] = "1s"
    with installation.started("serve") as server:
        assert server.process.stdout is not None
        assert "listening" in server.process.stdout.readline()
        with installation.started(*installation.task(PACED)) as command:
            command.until("output", text="first")
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(timeout=30) == 0
            command.kill()
        assert installation.cloister("clean").code == 0


@pytest.mark.parametrize("way", ["http", "stdio"])
async def test_an_assistant_hands_a_task_over(installation: Installation, way: str) -> None:
    """By the client of the protocol's own SDK."""
    port = free_port()
    if way == "stdio":
        variables = {**os.environ, "CLOISTER_STATE": str(installation.state)}
        await _hand_over(
            installation,
            StdioServerParameters(command=CLOISTER[0], args=["mcp"], env=variables),
            installation.project.path,
        )
        return
    stored = installation.write(f'repository = "{installation.project.path}"\n' + QUIET)
    with serving(installation, "--listen", f"127.0.0.1:{port}"):
        assert installation.cloister("env", "create", "proj", "--file", stored).code == 0
        token = installation.cloister("token", "create", "assistant").stdout.strip()
        async with httpx2.AsyncClient(timeout=60) as http:
            with pytest.raises(Exception):  # noqa: B017  # the SDK does not say which
                async with McpClient(streamable_http_client(f"http://127.0.0.1:{port}/mcp", http_client=http)):
                    raise AssertionError
        async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}, timeout=60) as http:
            ran = await anyio.to_thread.run_sync(installation.cloister, *installation.task("echo two >a.txt; echo hi"))
            async with McpClient(streamable_http_client(f"http://127.0.0.1:{port}/mcp", http_client=http)) as client:
                path = {"repository": str(installation.project.path), "prompt": "do", "command": "true"}
                refused = await client.call_tool("create_task", path)
                assert refused.is_error
                assert "a path of the server" in refused.content[0].text
                await _read(client, str(ran.events[-1]["task"]))


async def _hand_over(installation: Installation, server: StdioServerParameters, repository: object) -> None:
    told: list[str | None] = []

    async def progress(_: float, __: float | None, message: str | None) -> None:
        told.append(message)

    async with McpClient(server) as client:
        asked = {"repository": str(repository), "prompt": "do", "command": "echo two >a.txt; echo hi"}
        created = await client.call_tool("create_task", asked)
        assert not created.is_error, created
        task = created.structured_content["task"]
        ended = await client.call_tool("wait_for_task", {"task": task}, progress_callback=progress)
        assert ended.structured_content["verdict"] == "succeeded"
        assert "phase agent" in told
        await _read(client, task)


async def _read(client: McpClient, task: str) -> None:
    assert {tool.name for tool in (await client.list_tools()).tools} >= {"create_task", "wait_for_task", "get_diff"}
    assert "+two" in (await client.call_tool("get_diff", {"task": task})).content[0].text
    [log] = (await client.read_resource(f"cloister://tasks/{task}/log")).contents
    assert "hi" in log.text
    [diff] = (await client.read_resource(f"cloister://tasks/{task}/diff")).contents
    assert "+two" in diff.text
    missing = await client.call_tool("get_task", {"task": "nope"})
    assert missing.is_error
    assert "nope" in missing.content[0].text
