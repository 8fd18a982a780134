"""Phase 2: dependencies are installed, with the internet and the secrets; the disk is kept for later attempts."""

from collections.abc import Mapping
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What this phase has to do."""

    warm: bool
    """The sandbox stands on a disk that setup made."""
    setup: str | None
    """Run on a cold disk at the tip of the default branch; what it leaves is kept."""
    follow_up: str | None
    """Run at the task's commit, on a disk that is warm or was just set up; what it leaves is this attempt's alone."""
    needs: Needs

    @property
    def runs(self) -> bool:
        """Whether any script runs: only then the phase has a network and secrets."""
        return self.setup is not None or self.follow_up is not None


def make_plan(needs: Needs, sandbox: Sandbox) -> Plan:
    """Decide by the disk, not by the catalogue, which may have changed since a former worker made this sandbox."""
    scripts = needs.scripts
    warm = sandbox.stands_on is not None and not sandbox.has_started(SETUP)
    setup = scripts.setup
    if setup is None and needs.foundation.universal:
        setup = ""  # the image's own script comes before it
    maintenance = scripts.maintenance if warm else None
    return Plan(
        warm=warm,
        setup=None if warm else setup,
        follow_up=maintenance or scripts.catch_up,
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
    now: datetime,
    seconds_left: float,
) -> bool:
    """Bring the sandbox to where the agent starts: dependencies in place, the work tree at the task's commit.

    Returns whether a snapshot was kept.
    A cold disk is set up at the default branch and kept; a warm one is maintained at the task's commit (the
    rule of Codex cloud's container cache). Where the task's commit declares other dependencies than the default
    branch, either is brought up to them, for this attempt alone. No script, and so no secret, meets the task's patch.
    `building` is closed as soon as the disk is kept: other attempts wait for that. TaskFailedError when a script fails.
    """
    default, asked = default_checkout(task), asked_checkout(task)
    variables = {**container_variables(task, Phase.SETUP, plan.needs.foundation), **placeholders}

    async def run_script(name: str, text: str, checkout: Checkout) -> None:
        if not sandbox.has_started(name):
            await sandbox.checkout(checkout)
        sections = plan.needs.scripts.sections_of(text)
        argv = _command_line(name, plan.needs.foundation)
        script = Script(name=name, argv=argv, text=text, sections=sections, variables=variables, secrets=secrets)
        await run_in_setup(script, task, sandbox, journal, seconds_left=seconds_left)
        await gate.restore_instructions(sandbox, journal)
        await gate.search_residue(task.environment, sandbox, secrets, journal)

    _tell(plan, sandbox, journal)
    kept = False
    if not plan.warm and not sandbox.has_started(MAINTENANCE):
        if plan.setup is None:
            await sandbox.checkout(default)
        else:
            await run_script(SETUP, plan.setup, default)
        if task.use_cache:
            if plan.setup is not None:
                await sandbox.checkout(default)  # what the script did to tracked files is not kept
            kept = await _keep_disk(sandbox, journal, _record_of(task, plan, recipe, now), catalog)
    building.close()
    if plan.follow_up is not None:
        await run_script(MAINTENANCE, plan.follow_up, asked)
    await sandbox.checkout(replace(asked, patch=task.patch))  # only now: an agent may have written it
    return kept


def _tell(plan: Plan, sandbox: Sandbox, journal: Journal) -> None:
    """Say before it runs what was detected; not again when a former worker has."""
    found, differing, toolchains = plan.needs.scripts.plan, plan.needs.scripts.differing, plan.needs.toolchains
    if sandbox.has_started(SETUP) or sandbox.has_started(MAINTENANCE):
        return
    steps = tuple(step_to_text(step) for step in found.steps) if plan.runs else ()
    versions = tuple(map(str, toolchains.choices))
    notes = (*toolchains.notes, *found.notes)
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
        journal.record(SnapshotSaved(key=record.key))
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
