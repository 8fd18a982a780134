"""What a server logs of requests and of attempts, and what it does not."""

import io
import json
import sys

import httpx
import pytest

from cloister.errors import SandboxError
from cloister.log import logging_to_stderr
from cloister.model.secret import SecretValue
from cloister.model.token import Role

from ..cli.conftest import Installation
from .conftest import Machine

pytestmark = pytest.mark.anyio

SECRET = "a-very-secret-value-0123"


async def test_requests_and_attempts_are_told_with_who_and_what_and_no_secret(
    machine: Machine, installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def break_(sandbox: str, call: str) -> None:
        if call.startswith("create"):
            raise SandboxError(f"no room for {SECRET}")

    installation.on_call = break_
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with logging_to_stderr("info"):
        async with machine.server(logs=True) as server, server.as_owner() as owner:
            (installation.project / "env.toml").write_text("[secrets]\nTOKEN = {}\n")
            task = await owner.submit(server.request(secrets={"TOKEN": SecretValue(SECRET)}))
            await owner.wait(task.id)
            token = await server.token(Role.VIEWER)
            async with httpx.AsyncClient(base_url=server.address) as http:
                headers = {"Authorization": f"Bearer {token}"}
                assert (await http.get("/api/v1/tasks?environment=shy", headers=headers)).status_code == 200
                assert (await http.get("/api/v1/tasks", headers={"Authorization": "Bearer wrong"})).status_code == 401
    entries = [json.loads(line) for line in stream.getvalue().splitlines()]
    requests = [entry for entry in entries if entry["event"] == "request"]
    allowed, refused = [entry for entry in requests if entry["address"] == "127.0.0.1"]
    assert {key: allowed[key] for key in ("method", "path", "status", "caller")} == {
        "method": "GET",
        "path": "/api/v1/tasks",
        "status": 200,
        "caller": "VIEWER",
    }
    assert (refused["status"], refused["caller"]) == (401, None)
    (errored,) = [entry for entry in entries if entry["event"] == "attempt errored"]
    assert (errored["task"], errored["trace"]) == (task.id, task.trace_id)
    assert errored["attempt"].startswith(task.id) and errored["error"].startswith("no room for ")
    for hidden in (SECRET, token, "shy"):
        assert hidden not in stream.getvalue()
