"""Each *.toml beside this file is one attempt, or one story of several: what is given, and what must come of it.

The parts are the package's own strict fakes, so a phase that breaks a seam's contract fails here too.
"""

import json
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from cloister import errors, worker
from cloister.agents.command import CommandAgent
from cloister.detection import choose_scripts, choose_toolchains
from cloister.egress.fake import FakeEgress
from cloister.envelope import open_envelope
from cloister.environment_file import read_environment
from cloister.errors import CloisterError
from cloister.forges.fake import FakeForge, FakeRepository
from cloister.model.broker import placeholder_of, text_to_rule
from cloister.model.cancellation import Cancellation
from cloister.model.check import CheckResult
from cloister.model.environment import Environment
from cloister.model.event import (
    AttemptFinished,
    AttemptStarted,
    CheckFinished,
    DiffCollected,
    EgressAllowed,
    EgressRefused,
    EndRequested,
    Event,
    FinalDiskKept,
    FinalDiskMissed,
    Output,
    PhaseFinished,
    PhaseStarted,
    PolicyApplied,
    RecordedEvent,
    ResidueFound,
    SandboxProvisioned,
    SecretDelivered,
    SecretRemoved,
    ServiceEnded,
    ServiceReady,
    ServiceStarted,
    SetupPlanned,
    SetupStepFinished,
    SetupStepStarted,
    ShellClosed,
    SnapshotHit,
    SnapshotMissed,
    SnapshotSaved,
    TaskAccepted,
    TaskFinished,
    TurnAccepted,
)
from cloister.model.image import Image, Toolchain
from cloister.model.network import Decision, EgressRecord
from cloister.model.phase import Phase
from cloister.model.sandbox import Commit, DiffStats, EndCause, Exit, SandboxName, SandboxSpec, Stream
from cloister.model.snapshot import SnapshotKey, SnapshotRecipe, SnapshotRecord, final_disk_of, own_recipe_of, recipe_of
from cloister.model.task import Attempt, AttemptStatus, FollowUp, Outcome, Repository, Revision, Shell, Task, TaskId
from cloister.model_roster import ModelRoster
from cloister.queues.fake import FakeQueue
from cloister.sandboxes.fake import Append, FakeBackend, FakeNode, Hold, Print, Program
from cloister.sandboxes.fake_images import FakeImageStore
from cloister.sandboxes.fake_packs import FakeAgentPacks
from cloister.stores.fake_files import FakeFileStore
from cloister.stores.fake_snapshots import FakeSnapshotCatalog
from cloister.tools import Tools
from cloister.vault.fake import FakeVault

HERE = Path(__file__).parent
REPOSITORY = Repository(address="https://example.com/shop.git", directory="shop")
TIP, ASKED = Commit("d" * 40), Commit("a" * 40)
REVISION = Revision(ref="feature", commit=ASKED, default_branch="main", default_commit=TIP)
TASK = TaskId("t1")
NEIGHBOUR = SandboxName("another-attempt")
QUIET = (
    "claim",
    "renew",
    "record ",
    "output offset",
    "open secrets",
    "finish",
    "project files",
    "describe the image",
    "make shareable",
    "keep the final disk",
    "remember the final disk",
    "told",
    "sign",
)
"""Calls that the events tell of already."""


ALWAYS_COME = (
    TaskAccepted,
    TurnAccepted,
    SandboxProvisioned,
    PolicyApplied,
    PhaseFinished,
    FinalDiskKept,
    TaskFinished,
)


class WorkerKilledError(BaseException):
    """A dead worker's calls reach nobody."""


@dataclass
class Stage:
    """Hears every call to every fake: writes it down, and makes it fail or wait as the scenario says."""

    faults: dict[str, Exception] = field(default_factory=dict)
    on_fault: dict[str, Callable[[], object]] = field(default_factory=dict)
    pauses: set[str] = field(default_factory=set)
    calls: list[str] = field(default_factory=list)
    killed: bool = False
    released: anyio.Event = field(default_factory=anyio.Event)
    renewed: anyio.Event = field(default_factory=anyio.Event)

    async def __call__(self, about: str, call: str) -> None:
        if self.killed:
            raise WorkerKilledError
        call = call.replace(TIP, "the tip").replace(ASKED, "the asked commit")
        if not call.startswith(QUIET):
            self.calls.append(call)
        if call == "renew":
            self.renewed.set()
        if call in self.pauses:
            self.pauses.remove(call)
            await self.released.wait()
        if call in self.faults:
            self.on_fault.pop(call, list)()
            raise self.faults.pop(call)


@dataclass
class World:
    """What outlives a worker, as the scenario lays it out."""

    scenario: Mapping[str, Any]
    environment: Environment
    node: FakeNode
    queue: FakeQueue
    vault: FakeVault
    catalog: FakeSnapshotCatalog
    stage: Stage
    neighbour: ExitStack = field(default_factory=ExitStack)
    """Closed when a neighbour makes no disk any more."""

    def tools(self) -> tuple[Tools, FakeEgress]:
        """The parts of one worker's life."""
        egress = FakeEgress(_decisions(self.scenario.get("egress", ())), on_call=self.stage)
        tools = Tools(
            queue=self.queue,
            images=FakeImageStore(self.node, toolchains=_toolchains(self.scenario), on_call=self.stage),
            forge=_forge(self.scenario, self.stage),
            vault=self.vault,
            catalog=self.catalog,
            backend=FakeBackend(self.node, on_call=self.stage),
            egress=egress,
            agents={"command": CommandAgent()},
            packs=FakeAgentPacks(),
            files=FakeFileStore(),
            models=ModelRoster(vault=self.vault),
        )
        return tools, egress


@pytest.mark.parametrize("file", sorted(HERE.glob("*.toml")), ids=lambda file: file.stem)
async def test_scenario(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "RENEW_SECONDS", 0.01)
    scenario = tomllib.loads(file.read_text())
    world = await _lay_out(scenario)
    await _play(world)
    status = await world.queue.get(TASK)
    events = [event async for event in world.queue.events(TASK, after=status.last_turn.seq - 1)]
    told = {
        "events": list(_render(events)),
        "calls": world.stage.calls,
        "prompt": next((it.stdin.decode() for it in world.node.commands if it.id == "agent"), ""),
        **_told_of_outcome(status.attempts[0].outcome),
    }
    expected = scenario["expect"]
    assert {key: told[key] for key in expected} == expected
    assert expected.keys() >= {"verdict", "events", "calls"}
    _expect_the_table_to_hold(world, events)
    for saved in (event.event for event in events if isinstance(event.event, SnapshotSaved)):
        record = await world.catalog.find(saved.key)
        assert record is not None
        assert ":".join([*record.path, ""]).startswith(scenario.get("path", ""))
    await _expect_a_record(world, status.attempts[0])
    await _expect_its_disk(world, status.attempts[0])


async def _lay_out(scenario: Mapping[str, Any]) -> World:
    stage = Stage(
        faults={fault["call"]: _error(fault) for fault in scenario.get("faults", ())},
        pauses=set(scenario.get("pauses", ())),
    )
    environment = _environment(scenario["environment"])
    vault = FakeVault(on_call=stage)
    for name, value in scenario.get("secrets", {}).items():
        rule = scenario.get("brokered", {}).get(name)
        await vault.set(environment.name, name, value, None if rule is None else text_to_rule(json.dumps(rule)))
    change = scenario.get("change", {})
    world = World(
        scenario=scenario,
        environment=environment,
        node=FakeNode(
            programs={name: _program(told) for name, told in scenario.get("programs", {}).items()},
            diff=change.get("diff", "").encode(),
            stats=DiffStats(**{key: change.get(key, 0) for key in ("files", "added", "removed")}),
            catches=scenario.get("catches", True),
        ),
        queue=FakeQueue(on_call=stage),
        vault=vault,
        catalog=FakeSnapshotCatalog(on_call=stage),
        stage=stage,
    )
    stage.on_fault = {
        fault["call"]: world.node.snapshots.clear for fault in scenario.get("faults", ()) if fault.get("loses_disks")
    }
    task = _task(environment, scenario.get("task", {}))
    await _keep_snapshot(world, task, scenario.get("kept", {}))
    if scenario.get("neighbour_builds"):
        await _let_neighbour_build(world, task)
    await world.queue.submit(task)
    if "follow_up" in scenario:
        await _end_former_turn(world, scenario["follow_up"])
    stage.calls.clear()
    return world


async def _end_former_turn(world: World, told: Mapping[str, Any]) -> None:
    """Let the first turn end undisturbed, change what is left of it as the scenario says, and follow up."""
    stage = world.stage
    faults, pauses, stage.faults, stage.pauses = stage.faults, stage.pauses, {}, set()
    program = world.node.programs["agent"]
    world.node.programs["agent"] = _program({"message": "I fixed it."})
    tools, _ = world.tools()
    await worker.run_worker(tools, slots=1, until_idle=True)
    world.node.programs["agent"] = program
    stage.faults, stage.pauses = faults, pauses
    [former] = (await world.queue.get(TASK)).attempts
    key = final_disk_of(former.attempt)
    match told["disk"]:
        case "kept":
            pass
        case "gone":
            await tools.backend.remove_snapshot(key)
            await world.catalog.remove(key)
        case "expired":
            await _expire(world, key)
        case flaw:
            world.node.flaws[key] = flaw
    world.node.commands.clear()
    now = datetime.now(UTC)
    turn = FollowUp(number=2, prompt="add a test", continues=former.attempt, accepted_at=now)
    await world.queue.follow_up(TASK, turn)


async def _expire(world: World, key: SnapshotKey) -> None:
    record = await world.catalog.find(key)
    assert record is not None
    await world.catalog.add(replace(record, expires_at=datetime.now(UTC) - timedelta(hours=1)))


async def _play(world: World) -> None:
    """Run a worker; when nothing moves any more, let happen what the scenario says."""
    tools, egress = world.tools()
    async with anyio.create_task_group() as group:
        group.start_soon(_live, tools)
        await anyio.wait_all_tasks_blocked()
        match world.scenario.get("then"):
            case None:
                pass
            case "cancel":
                await world.queue.cancel(TASK)
                await _let_go_on(world.stage)
            case "cancel and collect":
                await world.queue.cancel(TASK, cancellation=Cancellation(grace_seconds=5, collect=True))
                await _let_go_on(world.stage)
            case "cancel gently":
                await world.queue.cancel(TASK, cancellation=Cancellation(grace_seconds=5))
                await _let_go_on(world.stage)
            case "the neighbour keeps its disk":
                await _keep_snapshot(world, (await world.queue.get(TASK)).task, {"expired": False})
                world.neighbour.close()
            case "the neighbour fails":
                world.neighbour.close()
            case "lose the lease":
                world.queue.abandon(await _running(world))
                await _let_go_on(world.stage)
            case "stop the worker" | "kill the worker" as what:
                world.stage.killed = what == "kill the worker"
                group.cancel_scope.cancel()
            case other:
                raise AssertionError(f"then = {other!r} means nothing")
    if group.cancel_scope.cancel_called:
        egress = await _take_over(world)
    assert bool(egress.policies) == ("network" in world.scenario.get("left", ())), "what is left of the network"


async def _let_go_on(stage: Stage) -> None:
    """Once the worker knows: what is not cancelled by then goes on."""
    stage.renewed = anyio.Event()
    await stage.renewed.wait()
    await anyio.wait_all_tasks_blocked()
    stage.released.set()


async def _take_over(world: World) -> FakeEgress:
    """Let the next worker go on with what the killed one left."""
    world.stage.killed = False
    world.stage.calls.append(f"-- {world.scenario['then']} --")
    attempt = await _running(world)
    if world.scenario.get("meanwhile_expired"):
        await _expire(world, final_disk_of(f"{TASK}-1-1"))
    if world.scenario.get("meanwhile_kept"):
        await _keep_snapshot(world, attempt.task, {"expired": False})
    if world.scenario.get("meanwhile_claimed"):
        await _let_neighbour_build(world, attempt.task)
    world.queue.abandon(attempt)
    world.node.release_all()
    tools, egress = world.tools()
    await worker.run_worker(tools, slots=1, until_idle=True)
    return egress


async def _live(tools: Tools) -> None:
    try:
        await worker.run_worker(tools, slots=1, until_idle=True)
    except* WorkerKilledError:
        pass


async def _running(world: World) -> Attempt:
    (status,) = await world.queue.list()
    seq = status.last_turn.seq
    started = [event async for event in world.queue.events(TASK, after=seq) if isinstance(event.event, AttemptStarted)]
    return Attempt(id=status.attempts[0].attempt, task=status.task, retry=len(started) - 1)


def _expect_the_table_to_hold(world: World, events: Sequence[RecordedEvent]) -> None:
    """What is true of every attempt, whatever becomes of it: the table of `lifecycle`."""
    assert bool(world.node.disks.keys() - {NEIGHBOUR}) == ("sandbox" in world.scenario.get("left", ())), (
        "what is left of the sandbox"
    )
    values = list(world.scenario.get("secrets", {}).values())
    for command in world.node.commands:
        assert command.variables["PATH"].startswith(world.scenario.get("path", ""))
        if command.id not in ("setup", "maintenance") and command.variables["CLOISTER_PHASE"] != "setup":
            assert not command.secrets
        for name in world.scenario.get("brokered", {}):
            assert command.variables[name] == placeholder_of(name, f"{TASK}-1-1")
            assert name not in command.secrets
        shown = repr((command.argv, command.variables, command.stdin, command.files))
        assert not any(value in shown for value in values)
    assert not any(value in repr(event) for value in values for event in events)
    borders = [(e.event.wire_name, e.phase) for e in events if isinstance(e.event, PhaseStarted | PhaseFinished)]
    if world.scenario.get("then") not in ("kill the worker", "lose the lease"):
        assert borders[0::2] == [("phase_started", phase) for _, phase in borders[1::2]]
    assert borders[-2:] == [("phase_started", Phase.TEARDOWN), ("phase_finished", Phase.TEARDOWN)]
    begun = "turn_accepted" if "follow_up" in world.scenario else "task_accepted"
    assert [event.event.wire_name for event in (events[0], events[-1])] == [begun, "task_finished"]


async def _expect_its_disk(world: World, status: AttemptStatus) -> None:
    """It is kept where somebody may go on from it, and only there."""
    key, outcome = final_disk_of(status.attempt), status.outcome
    is_there = outcome is not None and outcome.change is not None and "shell" not in world.scenario.get("task", {})
    record = await world.catalog.find(key)
    assert (key in world.node.snapshots, record is not None) == (is_there, is_there)
    if record is not None:
        assert (record.attempt, record.below) == (status.attempt, world.node.below.get(key))
        assert await world.catalog.find_newest(record.environment, record.repository) != record


async def _expect_a_record(world: World, status: AttemptStatus) -> None:
    """However an attempt ends, and whoever ends it, it has one record, of that end, without values."""
    envelope = await world.queue.find_record(status.attempt)
    assert envelope is not None
    payload = open_envelope(envelope, await world.vault.public_key())
    outcome = json.loads(payload)["predicate"]["outcome"]
    assert status.outcome is not None
    assert (outcome["verdict"], outcome["reason"]) == (status.outcome.verdict, status.outcome.reason)
    assert not [value for value in world.scenario.get("secrets", {}).values() if value in payload.decode()]


def _task(environment: Environment, told: Mapping[str, Any]) -> Task:
    shell = told.get("shell")
    return Task(
        id=TASK,
        repository=REPOSITORY,
        revision=replace(REVISION, foreign=told.get("foreign", False)),
        environment=environment,
        prompt="fix the failing test",
        agent="command" if shell is None else "shell",
        command="fix" if shell is None else None,
        shell=Shell(phase=Phase(shell), terminal="xterm") if shell else None,
        patch=told.get("patch", "").encode(),
        use_cache=told.get("use_cache", True),
        accepted_at=datetime.now(UTC),
    )


def _forge(scenario: Mapping[str, Any], stage: Stage | None = None) -> FakeForge:
    files = {
        (commit, path): content.encode()
        for name, commit in (("tip", TIP), ("asked", ASKED))
        for path, content in scenario.get("files", {}).get(name, {}).items()
    }
    repository = FakeRepository(refs={"main": TIP, "feature": ASKED}, files=files)
    return FakeForge({REPOSITORY.address: repository}, on_call=stage)


def _environment(text: str) -> Environment:
    return read_environment(text.encode(), source="environment.toml", default_name=REPOSITORY.address)


async def _keep_snapshot(world: World, task: Task, told: Mapping[str, Any]) -> None:
    """Keep the disk of a former task: of this environment, or of `environment`, as it was then."""
    if not told:
        return
    environment = _environment(told["environment"]) if "environment" in told else world.environment
    image = await _image(world, environment)
    recipe = await _recipe(world, replace(task, environment=environment), image)
    now = datetime.now(UTC)
    await world.catalog.add(
        SnapshotRecord(
            key=recipe.key,
            environment=environment.name,
            repository=REPOSITORY.address,
            commit=TIP,
            parts=recipe.parts,
            created_at=now - timedelta(hours=2),
            expires_at=now + timedelta(hours=-1 if told.get("expired") else 1),
        )
    )
    if not told.get("disk_is_gone"):
        world.node.snapshots.add(recipe.key)
    if "own" in told:
        await _keep_own(world, task, recipe, told["own"])
    if "flaw" in told:
        world.node.flaws[recipe.key] = told["flaw"]
    if told.get("in_use"):
        limits, mirror = environment.limits, Path("/mirrors/shop")
        spec = SandboxSpec(image=image.digest, snapshot=recipe.key, directory="shop", mirror=mirror, limits=limits)
        await FakeBackend(world.node).create(NEIGHBOUR, spec)


async def _keep_own(world: World, task: Task, shared: SnapshotRecipe, ref: str) -> None:
    """Keep the disk that a former task of `ref` left above the shared one."""
    base, asked = [await _forge(world.scenario).project_files(REPOSITORY, commit) for commit in (TIP, ASKED)]
    scripts = choose_scripts(task.environment, base=base, asked=asked)
    assert scripts.catch_up is not None, "the ref needs no disk of its own"
    own = own_recipe_of(shared, ref=ref, script=scripts.catch_up, dependencies=scripts.own_dependencies)
    lower = await world.catalog.find(shared.key)
    assert lower is not None
    await world.catalog.add(replace(lower, key=own.key, parts=own.parts, ref=ref, below=shared.key))
    world.node.snapshots.add(own.key)
    world.node.below[own.key] = shared.key


def _toolchains(scenario: Mapping[str, Any]) -> Sequence[Toolchain]:
    return [Toolchain(**{**told, "path": tuple(told.get("path", ()))}) for told in scenario.get("toolchains", ())]


async def _image(world: World, environment: Environment) -> Image:
    images = FakeImageStore(world.node, [environment.image], toolchains=_toolchains(world.scenario))
    return await images.describe(await images.ensure(environment.image))


async def _recipe(world: World, task: Task, image: Image) -> SnapshotRecipe:
    secrets = await world.vault.open_for(task)
    files = await _forge(world.scenario).project_files(REPOSITORY, TIP)
    scripts = choose_scripts(task.environment, base=files, asked=files)
    return recipe_of(
        task.environment,
        repository=REPOSITORY.address,
        image_digest=image.digest,
        secret_versions=secrets.versions,
        setup_script=scripts.setup,
        dependencies=scripts.dependencies,
        versions=choose_toolchains(task.environment.versions, files, image).versions,
    )


async def _let_neighbour_build(world: World, task: Task) -> None:
    recipe = await _recipe(world, task, await _image(world, task.environment))
    claim = await FakeBackend(world.node).claim_build(recipe.key, wait=False)
    assert claim is not None, "the neighbour came too late"
    world.neighbour.enter_context(claim)


def _program(told: Mapping[str, Any]) -> Program:
    steps: list[Print | Append | Hold] = []
    for step in told.get("does", ()):
        match step:
            case "hold":
                steps.append(Hold())
            case {"stderr": text}:
                steps.append(Print(data=text.encode(), stream=Stream.STDERR))
            case {"writes": text, "to": path}:
                steps.append(Append(path=path, data=text.encode()))
            case {"hex": digits}:
                steps.append(Print(data=bytes.fromhex(digits)))
            case {"stdout": text}:
                steps.append(Print(data=text.encode() * step.get("times", 1)))
            case _:
                raise AssertionError(f"{step!r} is nothing that a program does")
    ends = Exit(
        status=told.get("status", 0),
        cause=EndCause(told.get("cause", "exited")),
        running=tuple(told.get("running", ())),
    )
    left = {**told.get("leaves", {}), **({"message.md": told["message"]} if "message" in told else {})}
    leaves = {f"/cloister/out/{name}": text.encode() for name, text in left.items()}
    writes = {path: data.encode() for path, data in told.get("writes", {}).items()}
    return Program(steps=steps, ends=ends, leaves=leaves, writes=writes)


def _error(told: Mapping[str, str]) -> Exception:
    kinds = {kind.__name__: kind for kind in vars(errors).values() if isinstance(kind, type)}
    error = kinds[told["error"]](told["message"])
    assert isinstance(error, CloisterError)
    return error


def _decisions(told: Sequence[Mapping[str, Any]]) -> Mapping[Phase, Sequence[EgressRecord]]:
    records: dict[Phase, list[EgressRecord]] = {}
    for each in told:
        decision = Decision(allowed=each["allowed"], rule=each["rule"], hint=each.get("hint", ""))
        phase = Phase(each["phase"])
        records.setdefault(phase, []).append(
            EgressRecord(
                sandbox="t1-1-1", phase=phase, host=each["host"], port=443, method="CONNECT", decision=decision
            )
        )
    return records


def _told_of_outcome(outcome: Outcome | None) -> dict[str, Any]:
    assert outcome is not None, "the attempt did not end"
    return {
        "verdict": outcome.verdict,
        "reason": outcome.reason,
        "hint": outcome.hint,
        "message": outcome.message,
        "exit_status": outcome.exit_status,
        "checks": [_check_to_text(result) for result in outcome.checks],
        "diff": outcome.change.diff.decode() if outcome.change else None,
        "phases": [str(phase) for phase in outcome.seconds],
    }


def _check_to_text(result: CheckResult) -> str:
    return f"{result.name} passed" if result.ok else f"{result.name} failed ({result.reason})"


def _render(events: Sequence[RecordedEvent]) -> Iterator[str]:
    """Events as lines, with those of their fields that a scenario can know; without those that always come."""
    for recorded in events:
        if isinstance(recorded.event, ALWAYS_COME):
            continue
        details = " ".join([recorded.event.wire_name, *_details(recorded.event)])
        yield f"{recorded.phase}: {details}" if recorded.phase else details


def _details(event: Event) -> Sequence[str]:
    match event:
        case EndRequested(grace_seconds=grace, collect=collect):
            return [f"grace {grace:g} s", *(["collect"] if collect else [])]
        case CheckFinished(name=name, ok=ok, reason=reason, flaky=flaky, notes=notes):
            how = "passed" if ok else f"failed ({reason})"
            return [name, how, *(["flaky"] if flaky else []), *map(repr, notes)]
        case DiffCollected(files=0):
            return ["nothing"]
        case AttemptStarted(retry=retry):
            return [f"retry {retry}"] if retry else ()
        case PhaseStarted(network=network, secrets=secrets, brokered=brokered):
            return [f"network {network}", *secrets, *(f"({name})" for name in brokered)]
        case SecretDelivered(names=names) | SecretRemoved(names=names):
            return names
        case SetupPlanned(steps=steps, notes=notes, differing=differing, versions=versions):
            return [*map(repr, versions + steps + notes), *(["differing", *differing] if differing else [])]
        case SetupStepStarted(tool=tool, folder=folder):
            return [tool, *([folder] if folder else [])]
        case SetupStepFinished(tool=tool, folder=folder, seconds=seconds, ok=ok):
            return [tool, *([folder] if folder else []), f"{seconds} s", *([] if ok else ["failed"])]
        case ShellClosed(status=status):
            return [f"status {status}"]
        case SnapshotHit(ref=str(ref)) | SnapshotSaved(ref=str(ref)):
            return [f"of {ref}"]
        case SnapshotMissed(reason=reason) | FinalDiskMissed(reason=reason):
            return [f"({reason})"]
        case ServiceStarted(service=service):
            return [service]
        case ServiceReady(service=service, seconds=seconds):
            return [service, f"{seconds:g} s"]
        case ServiceEnded(service=service, status=status):
            return [service, str(status)]
        case Output(stream=stream, text=text, command=command):
            origin = [command] if command.startswith("service:") else []
            return [*origin, stream, repr(text) if len(text) < 100 else f"{len(text)} characters"]
        case EgressAllowed(host=host, rule=rule):
            return [host, f"({rule})"]
        case EgressRefused(host=host, rule=rule, hint=hint):
            return [host, f"({rule}; {hint})"]
        case ResidueFound(details=details, action=action):
            return [action, *map(repr, details)]
        case DiffCollected(files=files, added=added, removed=removed):
            return [f"{files} file +{added} -{removed}"]
        case AttemptFinished(verdict=verdict):
            return [verdict]
        case _:
            return ()
