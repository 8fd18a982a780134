"""Whole tasks with a model: the key is nowhere in the sandbox, the door is there for the agent alone, budgets hold."""

import hashlib
import json
import os
import secrets
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cloister.egress.authority import load_authority
from cloister.egress.messages import EgressSettings
from cloister.egress.process import EgressProcess
from cloister.model.model_usage import TokenUsage
from cloister.model.task import Verdict
from cloister.sandboxes.oci.image import OciImageStore

from .conftest import made_installation
from .egress.origin import Origin, make_authority
from .egress.world import World, made_world
from .installation import QUIET, Finished, Running
from .project import Project
from .test_table import PROBE, PUBLIC

KEY = "cnry_" + secrets.token_hex(16)
USAGE = {"input_tokens": 1000, "input_tokens_details": {"cached_tokens": 400}, "output_tokens": 24}
MODELS = {
    "acme": {
        "base": "https://api.example.com/v1",
        "api": ["responses"],
        "model": "m-1",
        "key": KEY,
        "prices": {"m-1": {"input": 10.0, "cached": 1.0, "output": 100.0}},
    }
}
COST = (600 * 10.0 + 400 * 1.0 + 24 * 100.0) / 1_000_000
DOOR = "curl -sS -m 5 http://127.0.0.1:3130/models"
ENVIRONMENT = f"""
[setup]
automatic = false
script = '{DOOR} || true'
[network]
setup = "full"
[checks]
door = "! {DOOR}"
"""
ASK = (
    'curl -sS -N --fail-with-body -X POST "$OPENAI_BASE_URL/responses" -H "Authorization: Bearer $OPENAI_API_KEY" -d {}'
)
WRITABLE = "/root /tmp /run /dev/shm /cloister /workspace /etc /var /opt /srv /home"
WORK = f"""
mkfifo /tmp/answer
{ASK} >/tmp/answer &
exec 3</tmp/answer
read -r line <&3
python3 probe.py {WRITABLE}
{DOOR}?go=on >/dev/null
cat <&3 >answer.txt
{ASK} -D /root/head >/dev/null
curl -sS https://api.example.com/v1/models >&2
true
"""
ENDLESS = f"trap '' TERM; while true; do {ASK} >/dev/null; sleep 0.1; done"


@dataclass
class Provider:
    """A provider of models in a world of its own."""

    world: World
    pem: str
    origin: Origin
    refuses: bool = False


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    if os.geteuid() != 0:
        pytest.skip("a network namespace of its own needs root")
    with made_world(f"cloister-models-{os.getpid()}") as world:
        world.zone["api.example.com"] = [PUBLIC]
        vouching = make_authority(tmp_path_factory.mktemp("authority"), ["api.example.com"])
        origin = Origin(world.listener("0.0.0.0", 443), lambda *_: None, vouching.server_context)
        made = Provider(world, vouching.pem, origin)
        origin.answer = lambda stream, request: _answer(made, stream, request)
        origin.start()
        yield made


def _answer(provider: Provider, stream: socket.socket, request: bytes) -> None:
    """Begin an answer, and end it once a list of models was asked for."""
    if provider.refuses:
        stream.sendall(b"HTTP/1.1 401 No\r\nContent-Length: 31\r\n\r\n" + b'{"error": {"message": "no key"}}'[:31])
    elif request.startswith(b"GET "):
        stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
    else:
        done = {"type": "response.completed", "response": {"model": "m-1", "usage": USAGE}}
        stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        stream.sendall(b'data: {"type": "response.created"}\n\n')
        while b"POST" in request and len(provider.origin.received) < 2:  # until something else was asked for
            stream.settimeout(0.05)
            try:
                stream.recv(1)
            except TimeoutError:
                continue
        stream.sendall(f"data: {json.dumps(done)}\n\n".encode())


@asynccontextmanager
async def _running(provider: Provider, directory: Path) -> AsyncIterator[Running]:
    project = Project.create(directory / "project", {"probe.py": PROBE.read_text()})
    with made_installation(directory, project) as installation:
        nobody = 65533
        settings = EgressSettings(authority=load_authority(installation.state), authorities=provider.pem)
        async with (
            EgressProcess(settings, uid=nobody, gid=nobody, command_prefix=provider.world.command_prefix) as egress,
            installation.opened(egress=egress, settings={"models": MODELS}) as running,
        ):
            yield running


@pytest.fixture(scope="module")
async def running(
    provider: Provider, images: OciImageStore, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Running]:
    async with _running(provider, tmp_path_factory.mktemp("models")) as running:
        yield running


@dataclass(frozen=True)
class Worked:
    """A task whose program used the model, and what the provider was sent."""

    finished: Finished
    received: list[bytes]

    @property
    def seen(self) -> dict[str, Any]:
        report: dict[str, Any] = json.loads(self.finished.printed("agent"))
        return report


@pytest.fixture(scope="module")
async def worked(provider: Provider, running: Running) -> Worked:
    provider.origin.clear()
    finished = await running.run(WORK, environment=ENVIRONMENT, model="acme")
    assert finished.outcome.verdict is Verdict.SUCCEEDED, finished.events
    return Worked(finished, list(provider.origin.received))


async def test_the_key_is_in_no_process_file_or_memory_of_the_sandbox(worked: Worked) -> None:
    assert worked.seen["canaries"] == {}


async def test_the_twin_a_variable_of_that_value_is_found_in_all_of_these_places(running: Running) -> None:
    shown = f"{QUIET}[variables]\nSHOWN = '{KEY}'\n"
    finished = await running.run(f"echo $SHOWN >/root/shown; python3 probe.py {WRITABLE}", environment=shown)
    places = json.loads(finished.printed("agent"))["canaries"]
    assert {place.rpartition("/")[2] for place in places} >= {"environ", "mem", "shown"}
    assert set(places["/root/shown"]) == {hashlib.sha256(KEY.encode()).hexdigest()}


async def test_the_provider_gets_the_key_from_a_sandbox_without_a_network(worked: Worked) -> None:
    asked = [request for request in worked.received if request.startswith(b"POST /v1/responses ")]
    assert [request.count(f"Authorization: Bearer {KEY}\r\n".encode()) for request in asked] == [1, 1]
    assert not any(b"cloister-placeholder" in request for request in worked.received)
    refused = [event for event in worked.finished.events if event["event"] == "egress_refused"]
    assert {it["rule"] for it in refused if it["host"] == "api.example.com"} == {"agent internet is off"}


async def test_the_log_says_who_answers_and_never_shows_the_key(worked: Worked) -> None:
    events = worked.finished.events
    started = {it["phase"]: it["model"] for it in events if it["event"] == "phase_started"}
    assert started == {"provision": None, "setup": None, "agent": "acme/m-1", "output": None, "teardown": None}
    assert KEY not in json.dumps(events)


async def test_the_door_is_there_for_the_agent_alone(worked: Worked) -> None:
    """The check passes when it finds no door. The twin is the agent's own look, which came to the provider."""
    assert [check.ok for check in worked.finished.outcome.checks] == [True]
    lists = [request for request in worked.received if request.startswith(b"GET /v1/models")]
    assert len(lists) == 1  # by the agent, and none by setup


async def test_what_was_used_is_added_up(worked: Worked) -> None:
    used = worked.finished.outcome.usage
    assert used is not None
    assert (used.calls, used.estimated) == (2, False)
    assert used.usage == TokenUsage(input_tokens=2000, cached_tokens=800, output_tokens=48)
    assert used.cost == pytest.approx(2 * COST)
    told = [event for event in worked.finished.events if event["event"] == "usage"]
    assert [(it["source"], it["provider"], it["model"], it["input_tokens"]) for it in told] == [
        ("proxy", "acme", "m-1", 1000)
    ] * 2


@pytest.mark.parametrize(
    ("limit", "reason"),
    [
        ("tokens = 2000", "it used 2048 tokens, and limits.tokens is 2000"),
        (f"cost = {1.5 * COST}", f"it used ${2 * COST:.4f}, and limits.cost is {1.5 * COST:g}"),
    ],
)
async def test_a_budget_ends_an_agent_that_would_go_on_for_ever(
    running: Running, provider: Provider, limit: str, reason: str
) -> None:
    finished = await running.run(
        "echo two >>b.txt; " + ENDLESS, environment=f"{QUIET}[limits]\n{limit}\n", model="acme"
    )
    assert finished.outcome.verdict is Verdict.FAILED
    assert finished.outcome.reason == f"the agent was stopped: {reason}"
    assert "b.txt" in finished.diff


async def test_a_key_that_is_refused_ends_the_agent_and_is_tried_once(running: Running, provider: Provider) -> None:
    provider.origin.clear()
    provider.refuses = True
    try:
        finished = await running.run(ENDLESS, environment=QUIET, model="acme")
    finally:
        provider.refuses = False
    assert finished.outcome.verdict is Verdict.ERRORED
    assert finished.outcome.reason.startswith("the provider acme did not take its key (status 401)")
    assert "cloister model set-key acme" in finished.outcome.hint
    assert len(provider.origin.received) == 1
