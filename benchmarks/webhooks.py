"""How fast a delivery of GitHub's webhook is answered, while nothing runs and while a hundred tasks do."""

import hashlib
import hmac
import json
import shutil
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import httpx
from measure import Bar, Report, Samples, publish, take_turns
from sandboxes import make_project
from served import serving

from cloister.sandboxes.oci.image import OciImageStore

TASKS, ROUNDS = 100, 300
_SECRET = "a-secret-of-a-webhook-of-benchmarks"
_ENVIRONMENT = 'image = "base"\nagent = "command"\n[setup]\nautomatic = false\n'
_PATIENCE_SECONDS = 120


def _delivery(client: httpx.AsyncClient) -> Callable[[], Awaitable[float]]:
    """Return a probe of a delivery that is new, signed, kept and synced before it is answered."""

    async def probe() -> float:
        payload = {
            "action": "created",
            "repository": {"id": 1, "full_name": "team/shop"},
            "sender": {"login": "ann", "type": "User"},
            "issue": {"number": 1, "body": "x" * 8000},
            "comment": {"id": 1, "body": f"No mention, {uuid.uuid4()}"},
        }
        body = json.dumps(payload).encode()
        headers = {
            "Content-Type": "application/json",
            "X-GitHub-Event": "issue_comment",
            "X-GitHub-Delivery": str(uuid.uuid4()),
            "X-Hub-Signature-256": "sha256=" + hmac.new(_SECRET.encode(), body, hashlib.sha256).hexdigest(),
        }
        began = time.perf_counter()
        answer = await client.post("/webhooks/github", content=body, headers=headers)
        seconds = time.perf_counter() - began
        if answer.status_code != 202 or answer.json()["status"] != "accepted":
            raise RuntimeError(answer.text)
        return seconds

    return probe


def _word(client: httpx.AsyncClient) -> Callable[[], Awaitable[float]]:
    """Return a probe of an answer of one word by the same server."""

    async def probe() -> float:
        began = time.perf_counter()
        (await client.get("/healthz")).raise_for_status()
        return time.perf_counter() - began

    return probe


async def _start_tasks(client: httpx.AsyncClient, repository: Path) -> None:
    """Have a hundred tasks run, each of which prints a line a second."""
    body = {
        "repository": str(repository),
        "prompt": "Wait",
        "command": "while sleep 1; do date; done",
        "environment": {"text": _ENVIRONMENT},
    }
    for _ in range(TASKS):
        answer = await client.post("/api/v1/tasks", json=body)
        if answer.status_code != 201:
            raise RuntimeError(answer.text)
    await _until(client, "running")
    await anyio.sleep(5)  # the last of them have their agents started


async def _end_tasks(client: httpx.AsyncClient) -> None:
    if over := [task["id"] for task in await _tasks(client) if task["state"] != "running"]:
        raise RuntimeError(f"{len(over)} tasks did not run all the while, such as {over[0]}")
    for task in await _tasks(client):
        await client.post(f"/api/v1/tasks/{task['id']}/cancel", json={})
    await _until(client, "finished")


async def _tasks(client: httpx.AsyncClient) -> list[dict[str, str]]:
    listed: list[dict[str, str]] = (await client.get(f"/api/v1/tasks?limit={TASKS}")).json()["items"]
    return listed


async def _until(client: httpx.AsyncClient, state: str) -> None:
    with anyio.fail_after(_PATIENCE_SECONDS):
        while any(task["state"] != state for task in await _tasks(client)):  # noqa: ASYNC110  # of another process
            await anyio.sleep(1)


async def _measure(place: Path, images: Path) -> tuple[Samples, ...]:
    repository = make_project(place / "project", files=100).tree
    state = place / "state"
    state.mkdir()
    await OciImageStore(images.parent).ensure("base")
    (state / "images").symlink_to(images)
    settings = {"slots": str(TASKS), "github_webhook_secret": _SECRET}
    async with serving(state, **settings) as client:
        probes = {"cloister, a delivery": _delivery(client), "cloister, an answer of one word": _word(client)}
        idle = await take_turns("while nothing runs", probes, rounds=ROUNDS)
        await _start_tasks(client, repository)
        busy = await take_turns(f"while {TASKS} tasks run", probes, rounds=ROUNDS)
        await _end_tasks(client)
    return (*busy.values(), *idle.values())


async def run(state: Path) -> bool:
    """Measure and publish."""
    place = Path(tempfile.mkdtemp(prefix="webhooks-", dir=state))
    try:
        samples = await _measure(place, state / "images")
    finally:
        shutil.rmtree(place, ignore_errors=True)
    about = (
        "A server as a process, and deliveries of GitHub's webhook over its socket, one after the other: each is of "
        "9 kB, its signature is checked, and it is on disk before it is answered. Once while nothing runs, and once "
        "while a hundred tasks do, in a sandbox each, which print a line a second. Beside it an answer of one word "
        "(`/healthz`)."
    )
    busy, _, idle, _ = samples
    bars = (
        Bar(what=f"a delivery while {TASKS} tasks run, 95 %", value=busy.p95, at_most=50.0, unit="ms"),
        Bar(what=f"while {TASKS} tasks run / while nothing runs, 95 %", value=busy.p95 / idle.p95, at_most=3.0),
    )
    return publish(Report(name="webhooks", title="Deliveries of a webhook", about=about, samples=samples, bars=bars))
