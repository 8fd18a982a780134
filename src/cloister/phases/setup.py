"""Phase 2: dependencies are installed, with the internet and the secrets; the disk is kept for later attempts."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from cloister.errors import TaskFailedError
from cloister.journal import Journal
from cloister.model.container import container_variables, work_tree
from cloister.model.environment import SetupRecipe
from cloister.model.event import SecretDelivered, SecretRemoved, SnapshotSaved
from cloister.model.phase import Phase
from cloister.model.sandbox import Checkout, Command, EndCause
from cloister.model.secret import DeliveredSecrets
from cloister.model.snapshot import SnapshotRecipe, SnapshotRecord
from cloister.model.task import Task
from cloister.protocols import Sandbox, SnapshotCatalog

SETUP = "setup"
MAINTENANCE = "maintenance"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What this phase has to do."""

    warm: bool
    """The sandbox stands on a disk that setup made; maintenance is all it may need."""
    script: str | None

    @property
    def command(self) -> str:
        """Id of the command that runs the script."""
        return MAINTENANCE if self.warm else SETUP


def make_plan(recipe: SetupRecipe, sandbox: Sandbox) -> Plan:
    """Decide by the disk, not by the catalogue, which may have changed since a former worker made this sandbox."""
    warm = sandbox.stands_on is not None and not sandbox.has_started(SETUP)
    return Plan(warm=warm, script=recipe.maintenance if warm else recipe.script)


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
    now: datetime,
    seconds_left: float,
) -> None:
    """Bring the sandbox to where the agent starts: dependencies in place, the work tree at the task's commit.

    A cold disk is set up at the default branch and kept; a warm one is maintained at the task's commit (the
    rule of Codex cloud's container cache). TaskFailedError when the script fails.
    """
    default = Checkout(
        commit=task.revision.default_commit, branch=task.revision.default_branch, origin=task.repository.address
    )
    asked = Checkout(commit=task.revision.commit, branch=task.branch, origin=task.repository.address, patch=task.patch)
    if plan.script is not None or not plan.warm:
        if not sandbox.has_started(plan.command):
            await sandbox.checkout(asked if plan.warm else default)
        if plan.script is not None:
            await _run_script(plan.command, plan.script, task, sandbox, secrets, placeholders, journal, seconds_left)
    if task.use_cache and not plan.warm:
        if plan.script is not None:
            await sandbox.checkout(default)  # what the script did to tracked files is not kept
        await _keep_disk(task, sandbox, journal, recipe, catalog, now)
    await sandbox.checkout(asked)


async def _run_script(
    name: str,
    script: str,
    task: Task,
    sandbox: Sandbox,
    secrets: DeliveredSecrets,
    placeholders: Mapping[str, str],
    journal: Journal,
    seconds_left: float,
) -> None:
    """Run a script in a session of its own, the only one that has the secrets."""
    names = tuple(sorted(secrets.values))
    resumed = sandbox.has_started(name)
    timeout = min(task.environment.setup.timeout_seconds, seconds_left)
    if names and not resumed:
        journal.record(SecretDelivered(names=names))
    process = await sandbox.start(
        Command(
            id=name,
            argv=("/bin/bash", "-e", "-o", "pipefail", f"/cloister/in/{name}.sh"),
            variables={**container_variables(task, Phase.SETUP), **placeholders},
            secrets=secrets.values,
            cwd=work_tree(task),
            files={f"{name}.sh": script.encode()},
            timeout_seconds=timeout,
            output_bytes=task.environment.limits.output_bytes,
        )
    )
    ended, last_words = await journal.follow(process, name, resumed=resumed)
    if names:
        journal.record(SecretRemoved(names=names))
    if ended.cause is EndCause.TIMED_OUT:
        raise TaskFailedError(f"the {name} script was stopped after {timeout:.0f} seconds; it last said: {last_words}")
    if ended.status != 0:
        how = "" if ended.cause is EndCause.EXITED else f" ({ended.cause})"
        raise TaskFailedError(f"the {name} script ended with status {ended.status}{how}; it last said: {last_words}")


async def _keep_disk(
    task: Task, sandbox: Sandbox, journal: Journal, recipe: SnapshotRecipe, catalog: SnapshotCatalog, now: datetime
) -> None:
    if await sandbox.snapshot(recipe.key):
        await catalog.add(_record_of(task, recipe, now))
        journal.record(SnapshotSaved(key=recipe.key))
    elif await catalog.find(recipe.key) is None:  # kept by a worker that died before it could say so
        await catalog.add(_record_of(task, recipe, now))


def _record_of(task: Task, recipe: SnapshotRecipe, now: datetime) -> SnapshotRecord:
    return SnapshotRecord(
        key=recipe.key,
        environment=task.environment.name,
        repository=task.repository.address,
        commit=task.revision.default_commit,
        parts=recipe.parts,
        created_at=now,
        expires_at=now + timedelta(seconds=task.environment.cache_ttl_seconds),
    )
