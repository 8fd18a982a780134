"""The API cancels a task wherever it is, and nothing of its sandbox is left while the server goes on."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any

import httpx2
import pytest

from .installation import QUIET, Installation
from .leftovers import Leftovers, find_leftovers
from .test_server import serving

HOLD = "exec sleep 600"
PHASES = {
    "setup": (QUIET.replace("automatic = false", f'automatic = false\nscript = "{HOLD}"'), "true"),
    "agent": (QUIET, HOLD),
    "output": (f'{QUIET}[checks]\nhold = "{HOLD}"\n', "echo two >a.txt"),
}
"""Those that a task can hold. `test_tasks` cancels in the short ones, by what it sees in the same process."""

MOST_SECONDS = 120.0
TASKS = "/api/v1/tasks"


@pytest.fixture
def http(installation: Installation) -> Iterator[httpx2.Client]:
    """Calls of a server that runs one attempt at once, and has no spares: those come and go as it starts tasks."""
    installation.variables.update(CLOISTER_SLOTS="1", CLOISTER_SPARES="0")
    over_socket = httpx2.HTTPTransport(uds=str(installation.state / "cloister.sock"))
    with serving(installation), httpx2.Client(base_url="http://cloister", transport=over_socket, timeout=120) as http:
        yield http


def test_a_task_is_cancelled_in_each_phase_and_while_it_waits(installation: Installation, http: httpx2.Client) -> None:
    for phase, (environment, work) in PHASES.items():
        cancel_in(phase, environment, work, installation, http)


def cancel_in(phase: str, environment: str, work: str, installation: Installation, http: httpx2.Client) -> None:
    before = find_leftovers(installation)
    task = submit(http, installation, environment, work)
    until_begun(http, task, phase)
    waits = submit(http, installation, QUIET, "true")
    assert http.post(f"{TASKS}/{waits}/cancel").status_code == 202
    told = [event["event"] for event in events(http, waits)]
    assert (told[-1], "attempt_started" in told) == ("task_finished", False), "at once: it had no sandbox"
    until(lambda: {"mounts", "groups", "sleeps"} <= new_things(installation, before).keys())
    assert http.post(f"{TASKS}/{task}/cancel").status_code == 202
    log = list(events(http, task))
    assert (log[-1]["event"], log[-1]["verdict"]) == ("task_finished", "cancelled"), (phase, log[-1])
    [ended] = [event for event in log if event["event"] == "attempt_finished"]
    assert ended["verdict"] == "cancelled", (phase, ended)
    begun = [event["phase"] for event in log if event["event"] == "phase_started"]
    assert begun[-2:] == [phase, "teardown"], (phase, begun)
    assert (shown := http.get(f"{TASKS}/{task}").json())["verdict"] == "cancelled", shown
    until(lambda: not new_things(installation, before), lambda: new_things(installation, before))
    again = http.post(f"{TASKS}/{task}/cancel")
    assert (again.status_code, list(events(http, task))) == (202, log), "harmless when it is over"


def submit(http: httpx2.Client, installation: Installation, environment: str, work: str) -> str:
    asked = {"repository": str(installation.project.path), "prompt": "do it", "command": work}
    answer = http.post(TASKS, json={**asked, "environment": {"text": environment}})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def events(http: httpx2.Client, task: str) -> Iterator[dict[str, Any]]:
    """What happened in a task, until it is over."""
    with http.stream("GET", f"{TASKS}/{task}/events") as answer:
        for line in answer.iter_lines():
            if line.startswith("data: {") and line != "data: {}":
                yield json.loads(line.removeprefix("data: "))


def until_begun(http: httpx2.Client, task: str, phase: str) -> None:
    for event in events(http, task):
        if event["event"] == "phase_started" and event["phase"] == phase:
            return
    raise AssertionError(f"{task} was over before it began with {phase}")


def new_things(installation: Installation, before: Leftovers) -> dict[str, frozenset[str]]:
    """What there is by now and was not before, by its kind.

    A server has processes of its own, and kept disks stay: of processes, what holds; of directories, those of
    sandboxes and containers.
    """
    now = find_leftovers(installation)
    found = {each.name: getattr(now, each.name) - getattr(before, each.name) for each in fields(now)}
    found["sleeps"] = frozenset(line for line in found.pop("processes") if "sleep 600" in line)
    del found["namespaces"]
    return {kind: things for kind, things in found.items() if things}


def until(is_so: Callable[[], bool], why_not: Callable[[], object] = str) -> None:
    deadline = time.monotonic() + MOST_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, why_not() or "it never came to that"
        time.sleep(0.05)
