"""Phase 2: dependencies are installed, with the internet and the secrets; the disk is kept for later attempts."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from cloister.journal import Journal
from cloister.model.container import Foundation, asked_checkout, container_variables, default_checkout
from cloister.model.event import SetupPlanned, SnapshotSaved
from cloister.model.phase import Phase
from cloister.model.sandbox import Checkout
from cloister.model.secret import DeliveredSecrets
from cloister.model.setup_plan import step_to_text
from cloister.model.snapshot import SnapshotRecipe, SnapshotRecord
from cloister.model.task import Task
from cloister.model.universal import after_script, in_login_shell
from cloister.phases import gate
from cloister.phases.script import Script, run_in_setup
from cloister.protocols import Sandbox, SnapshotCatalog
from cloister.readiness import Needs

SETUP = "setup"
MAINTENANCE = "maintenance"
_FOREIGN = (
    "an agent wrote this commit, and no person has merged it: what is installed for it gets no secrets and no more "
    "network than the agent, and is not kept"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What this phase has to do."""

    warm: bool
    """The sandbox stands on a disk that setup made."""
    setup: str | None
    """Run on a cold disk at the tip of the default branch; what it leaves is kept."""
    follow_up: str | None
    """Run at the task's commit, on a disk that is warm or was just set up."""
    own: SnapshotRecipe | None
    """Names what the follow-up leaves, which is kept for the ref; None when it is this attempt's alone."""
    foreign: bool
    """An agent wrote the task's commit: the follow-up has no secrets, and the network of the agent."""
    needs: Needs

    @property
    def runs(self) -> bool:
        """Whether any script runs: only then the phase has a network and secrets."""
        return self.setup is not None or self.follow_up is not None

    def is_trusted(self, sandbox: Sandbox) -> bool:
        """Whether what runs first, or runs now, has secrets and the network of setup."""
        return not self.foreign or (self.setup is not None and not sandbox.has_started(MAINTENANCE))


def make_plan(task: Task, needs: Needs, own: SnapshotRecipe | None, sandbox: Sandbox) -> Plan:
    """Decide by the disk, not by the catalogue, which may have changed since a former worker made this sandbox."""
    scripts = needs.scripts
    warm = sandbox.stands_on is not None and not sandbox.has_started(SETUP)
    setup = scripts.setup
    if setup is None and needs.foundation.universal:
        setup = ""  # the image's own script comes before it
    is_brought_up = own is not None and sandbox.stands_on == own.key and not sandbox.has_started(MAINTENANCE)
    maintenance = scripts.maintenance if warm else None
    return Plan(
        warm=warm,
        setup=None if warm else setup,
        follow_up=maintenance or (None if is_brought_up else scripts.catch_up),
        own=None if is_brought_up or not task.use_cache else own,
        foreign=task.revision.foreign,
        needs=needs,
    )


async def run(
    task: Task,
    plan: Plan,
    sandbox: Sandbox,
    secrets: DeliveredSecrets,
    journal: Journal,
    *,
    placeholders: Mapping[str, str],
    recipe: SnapshotRecipe,
    catalog: SnapshotCatalog,
    building: ExitStack,
    narrow: Callable[[], Awaitable[None]],
    patch: bytes,
    now: datetime,
    seconds_left: float,
) -> bool:
    """Bring the sandbox to where the agent starts: dependencies in place, the work tree at the task's commit.

    Returns whether a snapshot was kept.
    A cold disk is set up at the default branch and kept; a warm one is maintained at the task's commit (the
    rule of Codex cloud's container cache). Where the task's commit declares other dependencies than the default
    branch, either is brought up to them, and kept for that ref alone. No script, and so no secret, meets the
    `patch`. No secret meets a commit that an agent wrote: before that, `narrow` takes the network of setup away.
    `building` is closed as soon as the disk is kept: other attempts wait for that. TaskFailedError when a script fails.
    """
    asked = asked_checkout(task)
    variables = {**container_variables(task, Phase.SETUP, plan.needs.foundation), **placeholders}
    scripts = _Scripts(
        task=task, needs=plan.needs, sandbox=sandbox, journal=journal, variables=variables, seconds_left=seconds_left
    )
    _tell(plan, sandbox, journal)
    kept = False
    if not plan.warm and not sandbox.has_started(MAINTENANCE):
        await _set_up(scripts, plan.setup, secrets)
        if task.use_cache:
            kept = await _keep_disk(sandbox, journal, _record_of(task, plan, recipe, now), catalog)
    if not plan.warm or plan.own is None:
        building.close()
    if plan.follow_up is not None:
        if plan.foreign and plan.is_trusted(sandbox):
            await narrow()
        await scripts.run(MAINTENANCE, plan.follow_up, asked, replace(secrets, values={}) if plan.foreign else secrets)
    if plan.own is not None:
        await sandbox.make_shareable()
        await sandbox.checkout(asked)
        record = _own_record_of(task, plan, plan.own, now, shared=recipe, found=await catalog.find(recipe.key))
        kept |= await _keep_disk(sandbox, journal, record, catalog)
        building.close()
    if plan.own is None or patch:
        await sandbox.checkout(replace(asked, patch=patch))  # only now: an agent may have written it
    return kept


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scripts:
    """Runs scripts of setup in the sandbox, each at its checkout, and looks at what it left."""

    task: Task
    needs: Needs
    sandbox: Sandbox
    journal: Journal
    variables: Mapping[str, str]
    seconds_left: float

    async def run(self, name: str, text: str, checkout: Checkout, secrets: DeliveredSecrets) -> None:
        if not self.sandbox.has_started(name):
            await self.sandbox.checkout(checkout)
        script = Script(
            name=name,
            argv=_command_line(name, self.needs.foundation),
            text=text,
            sections=self.needs.scripts.sections_of(text),
            variables=self.variables,
            secrets=secrets,
        )
        await run_in_setup(script, self.task, self.sandbox, self.journal, seconds_left=self.seconds_left)
        await gate.restore_instructions(self.sandbox, self.journal)
        await gate.search_residue(self.task.environment, self.sandbox, secrets, self.journal)


async def _set_up(scripts: _Scripts, text: str | None, secrets: DeliveredSecrets) -> None:
    """Bring a cold disk to the tip of the default branch, as it is kept."""
    default, sandbox = default_checkout(scripts.task), scripts.sandbox
    if text is None:
        await sandbox.checkout(default)
        return
    await scripts.run(SETUP, text, default, secrets)
    if scripts.task.use_cache:
        await sandbox.make_shareable()
        await sandbox.checkout(default)  # what the script did to tracked files is not kept


def _tell(plan: Plan, sandbox: Sandbox, journal: Journal) -> None:
    """Say before it runs what was detected; not again when a former worker has."""
    found, differing, toolchains = plan.needs.scripts.plan, plan.needs.scripts.differing, plan.needs.toolchains
    if sandbox.has_started(SETUP) or sandbox.has_started(MAINTENANCE):
        return
    steps = tuple(step_to_text(step) for step in found.steps) if plan.runs else ()
    versions = tuple(map(str, toolchains.choices))
    notes = (*toolchains.notes, *found.notes, *([_FOREIGN] if plan.foreign and plan.follow_up is not None else []))
    if steps or notes or differing or versions:
        journal.record(SetupPlanned(steps=steps, notes=notes, differing=differing, versions=versions))


def _command_line(name: str, foundation: Foundation) -> tuple[str, ...]:
    command = ("/bin/bash", "-e", "-o", "pipefail", f"/cloister/in/{name}.sh")
    if not foundation.universal:
        return command
    in_shell = in_login_shell(command, foundation.path)
    return after_script(in_shell) if name == SETUP else in_shell


async def _keep_disk(sandbox: Sandbox, journal: Journal, record: SnapshotRecord, catalog: SnapshotCatalog) -> bool:
    kept = await sandbox.snapshot(record.key)
    if kept:
        await catalog.add(record)
        journal.record(SnapshotSaved(key=record.key, ref=record.ref))
    elif await catalog.find(record.key) is None and sandbox.stands_on == record.key:
        await catalog.add(record)  # kept by a worker that died before it could say so
    return kept


def _record_of(task: Task, plan: Plan, recipe: SnapshotRecipe, now: datetime) -> SnapshotRecord:
    foundation = plan.needs.foundation
    return SnapshotRecord(
        key=recipe.key,
        environment=task.environment.name,
        repository=task.repository.address,
        commit=task.revision.default_commit,
        parts=recipe.parts,
        created_at=now,
        expires_at=now + timedelta(seconds=task.environment.cache_ttl_seconds),
        path=foundation.path,
        variables=foundation.variables,
    )


def _own_record_of(
    task: Task, plan: Plan, own: SnapshotRecipe, now: datetime, *, shared: SnapshotRecipe, found: SnapshotRecord | None
) -> SnapshotRecord:
    """Of the disk that is for the task's ref alone: it goes when the `shared` one goes, which it stands on."""
    record = _record_of(task, plan, own, now)
    return replace(
        record,
        commit=task.revision.commit,
        ref=task.revision.ref,
        below=shared.key,
        expires_at=min(record.expires_at, found.expires_at) if found else record.expires_at,
    )
