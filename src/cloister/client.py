"""What the commands talk to: Cloister's front door, wherever it is."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from cloister.environments import EnvironmentReport
from cloister.importing import ImportedEnvironment
from cloister.intake import Intake
from cloister.model.cancellation import AT_ONCE, Cancellation
from cloister.model.event import AttemptFinished, RecordedEvent
from cloister.model.request import EnvironmentChoice, EnvironmentText, RepositoryFile, Request
from cloister.model.sandbox import Change
from cloister.model.secret import BrokerRule, KeptSecret
from cloister.model.snapshot import CheckedDisk, SnapshotKey, SnapshotRecord
from cloister.model.stored_environment import StoredEnvironment
from cloister.model.task import AttemptId, FollowUp, Task, TaskId, TaskState, TaskStatus
from cloister.preview import CacheAnswer, Preview


@dataclass(frozen=True, slots=True)
class Client:
    """Reaches the intake in the same process. Takes and returns plain data; raises CloisterError."""

    intake: Intake

    async def submit(self, request: Request) -> Task:
        """Accept a task; it is on disk when this returns."""
        return await self.intake.submit(request)

    async def preview(self, repository: str, ref: str | None, environment: EnvironmentChoice | None) -> Preview:
        """Say what a task on that repository would do to be ready, without accepting one."""
        return await self.intake.preview(repository, ref, environment)

    async def import_environment(
        self, repository: str, ref: str | None, path: str | None = None
    ) -> ImportedEnvironment:
        """Make an environment file of what the repository says to other services."""
        return await self.intake.import_environment(repository, ref, path)

    async def why(self, repository: str, ref: str | None, environment: EnvironmentChoice | None) -> CacheAnswer:
        """Say whether a task on that repository would find a kept disk, and why not."""
        return await self.intake.why(repository, ref, environment)

    async def task(self, task: str) -> TaskStatus:
        """Where a task is, by its id or a unique beginning of it."""
        return await self.intake.task(task)

    async def tasks(self, *, limit: int = 50) -> Sequence[TaskStatus]:
        """The newest tasks, newest first."""
        return await self.intake.tasks(limit=limit)

    def events(
        self, task: TaskId, *, after: int = 0, follow: bool = False, output: bool = True
    ) -> AsyncIterator[RecordedEvent]:
        """What happened in a task, from after that `seq`; with `follow` until it is over.

        Without `output`, what programs printed is left out.
        """
        return self.intake.events(task, after=after, follow=follow, output=output)

    async def wait_for_attempt(self, task: TaskId, attempt: AttemptId) -> TaskStatus:
        """Return where the task is once that attempt is over."""
        async for recorded in self.events(task, follow=True, output=False):
            if recorded.attempt == attempt and isinstance(recorded.event, AttemptFinished):
                break
        return await self.task(task)

    async def wait(self, task: TaskId) -> TaskStatus:
        """Return where the task is once it is over."""
        status = await self.task(task)
        if status.state is not TaskState.FINISHED:
            async for _ in self.events(task, follow=True):
                pass
            status = await self.task(task)
        return status

    async def follow_up(
        self, task: str, prompt: str, *, attempt: int | None = None, attempts: int = 1
    ) -> tuple[TaskId, FollowUp]:
        """Accept one more turn of a task, which goes on from an attempt of the last, by default the best."""
        return await self.intake.follow_up(task, prompt, attempt=attempt, attempts=attempts)

    async def cancel(self, task: str, *, attempt: int | None = None, cancellation: Cancellation = AT_ONCE) -> TaskId:
        """Ask for the end of a task, or of one attempt of it; returns its full id, and does not wait."""
        return await self.intake.cancel(task, attempt=attempt, cancellation=cancellation)

    async def change(self, task: str, *, attempt: int | None = None, turn: int | None = None) -> Change:
        """What an attempt changed, by default the best one's of the last turn."""
        return await self.intake.change(task, attempt=attempt, turn=turn)

    async def record(self, task: str, *, attempt: int | None = None, turn: int | None = None) -> bytes:
        """The signed record of an attempt, by default the best one's of the last turn: an envelope (DSSE)."""
        return await self.intake.record(task, attempt=attempt, turn=turn)

    async def record_key(self) -> str:
        """The public key, as PEM, that verifies the installation's records."""
        return await self.intake.record_key()

    async def create_environment(self, name: str, content: EnvironmentText | RepositoryFile) -> EnvironmentReport:
        """Store a text under a name that is not in use."""
        return await self.intake.environments.create(name, content)

    async def edit_environment(
        self, name: str, content: EnvironmentText | RepositoryFile, *, base: int | None = None
    ) -> EnvironmentReport:
        """Store the next version, made from version `base`, by default the newest."""
        return await self.intake.environments.edit(name, content, base=base)

    async def environment(self, name: str, version: int | None = None) -> EnvironmentReport:
        """A stored environment, by default in its newest version."""
        return await self.intake.environments.describe(name, version)

    async def environments(self) -> Sequence[StoredEnvironment]:
        """The stored environments in their newest versions, by name."""
        return await self.intake.environments.list()

    async def environment_versions(self, name: str) -> Sequence[StoredEnvironment]:
        """All versions of a stored environment, newest first, also of a deleted one."""
        return await self.intake.environments.versions(name)

    async def delete_environment(self, name: str, *, with_secrets: bool = False) -> tuple[Sequence[str], int]:
        """Take a stored environment out of use; return the secrets and the number of snapshots that were forgotten."""
        return await self.intake.delete_environment(name, with_secrets=with_secrets)

    async def set_secret(self, environment: str, name: str, value: str, rule: BrokerRule | None = None) -> None:
        """Keep a secret's value; with a rule, for the proxy alone."""
        await self.intake.set_secret(environment, name, value, rule)

    async def secrets(self, environment: str) -> Sequence[KeptSecret]:
        """What an environment's vault keeps, by name, without the values."""
        return await self.intake.secrets(environment)

    async def remove_secret(self, environment: str, name: str) -> None:
        """Forget a secret."""
        await self.intake.remove_secret(environment, name)

    async def rotate_key(self) -> int:
        """Replace the master key; returns how many sealed values were wrapped anew."""
        return await self.intake.rotate_key()

    async def snapshots(self) -> Sequence[SnapshotRecord]:
        """All kept snapshots, newest first."""
        return await self.intake.snapshots()

    async def check_snapshot(self, key: str) -> Sequence[CheckedDisk]:
        """Read a snapshot's disk again, and those below it, topmost first."""
        return await self.intake.check_snapshot(key)

    async def reset_cache(self, environment: str) -> int:
        """Forget every snapshot of an environment, and return how many."""
        return await self.intake.reset_cache(environment)

    async def remove_snapshot(self, key: str) -> SnapshotKey:
        """Forget a snapshot, by its key or a unique beginning; returns the full key."""
        return await self.intake.remove_snapshot(key)
