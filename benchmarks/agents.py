"""Agents: how long `codex` takes to ask its model, in a warm sandbox and on the bare host."""

import asyncio
import json
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
from measure import Bar, Report, Samples, paired_ratio, publish
from sandboxes import git, make_project

from cloister.agents.codex import CodexAgent
from cloister.model.agent import AgentTurn
from cloister.model.event import PhaseStarted
from cloister.model.model_access import ModelAccess, ModelApi
from cloister.model.pack import PACKS, Pack
from cloister.model.phase import Phase
from cloister.model.request import EnvironmentText, Request
from cloister.model.task import Task, Verdict
from cloister.sandboxes.oci.image import OciImageStore
from cloister.settings import Settings
from cloister.testing import open_model, read_script
from cloister.wiring import Application, open_application

ROUNDS = 20
FILES = 100
_MODEL = "bench-1"
_PROMPT = "What is there to do?"
_TURNS = f"""
[[conversations]]
times = {2 * (ROUNDS + 2)}
[[conversations.turns]]
expect = {{ prompt = "{_PROMPT}", model = "{_MODEL}" }}
say = "Nothing."
"""
_ENVIRONMENT = EnvironmentText(
    source="bench.toml",
    raw=b'image = "base"\nagent = "codex"\n[setup]\nscript = "echo ready > /root/ready"\n',
)
_ROW = "start to the first request of the model"
_IN_SANDBOX, _BARE, _ACCEPTED = "cloister, agent phase", "codex on the host", "cloister, accepted"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """The scripted model, and when it was asked."""

    address: str
    kept: Path

    def first_since(self, begun: float) -> float:
        """Return when the first request for an answer came after `begun`, in seconds since the epoch."""
        told: list[dict[str, Any]] = [json.loads(line) for line in self.kept.read_text().splitlines()]
        return next(it["at"] for it in told if it["at"] >= begun and it["path"].endswith("/responses"))


async def in_sandbox(application: Application, repository: Path, asked: _Asked) -> tuple[Task, float, float]:
    """Run a task to its end; return it, when its agent phase began, and when its agent asked the model."""
    request = Request(repository=str(repository), prompt=_PROMPT, environment=_ENVIRONMENT)
    task = await application.intake.submit(request)
    began = [
        recorded.at.timestamp()
        async for recorded in application.intake.events(task.id, follow=True)
        if isinstance(recorded.event, PhaseStarted) and recorded.phase is Phase.AGENT
    ]
    status = await application.intake.task(task.id)
    if status.verdict is not Verdict.SUCCEEDED:
        raise RuntimeError(f"the task {status.verdict}: {status.attempts[0].outcome}")
    return task, began[0], asked.first_since(began[0])


async def on_host(pack: Pack, task: Task, repository: Path, place: Path, asked: _Asked) -> float:
    """Run the program of the same pack with the same settings, and return the seconds until it asked the model.

    Its work tree is a fresh clone and its home is empty, as they are in a sandbox.
    """
    access = ModelAccess(
        provider="bench",
        api=ModelApi.RESPONSES,
        base_url=f"{asked.address}/v1",
        model=_MODEL,
        placeholder="nothing",
    )
    command = CodexAgent().command(AgentTurn(task=task, prompt=_PROMPT, access=access))
    program = str(pack.place) + command.argv[0].removeprefix(PACKS)
    with tempfile.TemporaryDirectory(prefix="bare-", dir=place) as folder:
        home, tree = Path(folder) / "home", Path(folder) / "project"
        home.mkdir()
        git(place, "clone", "--quiet", str(repository), str(tree))
        begun = time.time()
        process = await asyncio.create_subprocess_exec(
            *(program, *command.argv[1:]),
            cwd=tree,
            env={"PATH": os.environ["PATH"], "HOME": str(home), **command.variables},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        _, complaint = await process.communicate(command.prompt.encode())
    if process.returncode != 0:
        raise RuntimeError(f"codex ended with {process.returncode}: {complaint.decode()[-500:]}")
    return asked.first_since(begun) - begun


@asynccontextmanager
async def _opened(state: Path, place: Path) -> AsyncIterator[tuple[Application, Pack, _Asked]]:
    """An installation with a worker, codex installed, and a model that says what the script has."""
    kept = place / "asked.jsonl"
    async with open_model(read_script(_TURNS.encode(), source="turns.toml"), kept=kept) as model:
        table = {"base": f"{model.address}/v1", "api": ["responses"], "model": _MODEL, "keyless": True}
        settings = Settings.model_validate({"state": state, "models": {"bench": table}})
        async with open_application(settings) as application, anyio.create_task_group() as group:
            recipe = CodexAgent.pack
            assert recipe is not None
            pack = await application.packs.find(recipe.name)
            if pack is None or pack.version != recipe.version:
                pack = await application.packs.install(recipe, lambda _: None)
            group.start_soon(application.work)
            yield application, pack, _Asked(address=model.address, kept=kept)
            group.cancel_scope.cancel()


async def _measure(state: Path, place: Path) -> list[Samples]:
    await OciImageStore(state).ensure("base")
    repository = make_project(place / "repository", files=FILES).tree
    values: dict[str, list[float]] = {_IN_SANDBOX: [], _BARE: [], _ACCEPTED: []}
    async with _opened(state, place) as (application, pack, asked):
        first, *_ = await in_sandbox(application, repository, asked)  # which makes the disk that the others start from
        for number in range(-1, ROUNDS):
            before = await on_host(pack, first, repository, place, asked) if number % 2 else None
            task, began, answered = await in_sandbox(application, repository, asked)
            bare = before if before is not None else await on_host(pack, first, repository, place, asked)
            if number >= 0:
                values[_IN_SANDBOX].append((answered - began) * 1000)
                values[_BARE].append(bare * 1000)
                values[_ACCEPTED].append((answered - task.accepted_at.timestamp()) * 1000)
    return [Samples(row=_ROW, subject=subject, values=tuple(measured)) for subject, measured in values.items()]


async def run(state: Path) -> bool:
    """Measure and publish."""
    place = Path(tempfile.mkdtemp(prefix="agents-", dir=state))
    try:
        samples = await _measure(state, place)
    finally:
        shutil.rmtree(place)
    warm, bare, _ = samples
    about = (
        "The real `codex`, of one and the same pack, until its first request reaches the scripted model of "
        "[`cloister.testing`](../how-to/scripted-model.md), which runs beside it. In a warm sandbox from the beginning "
        "of the agent phase: the network is opened, the container is made, and the request goes through the door that "
        "counts tokens. `accepted` is the same run from the acceptance of its task. On the bare host from "
        "the start of the program, with the same settings, a fresh clone and an empty home; it asks the model "
        f"directly. The repository has {FILES} files."
    )
    bars = (
        Bar(what="codex in a warm sandbox / on the host, median of pairs", value=paired_ratio(warm, bare), at_most=1.5),
    )
    return publish(Report(name="agents", title="Start of an agent", about=about, samples=tuple(samples), bars=bars))
