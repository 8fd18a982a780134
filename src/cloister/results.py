"""What an attempt left: its change, its record, its artifacts, and what was seen of shells in it."""

from dataclasses import dataclass

from cloister.errors import ConflictError, NotFoundError
from cloister.model.choice import attempt_of, change_of
from cloister.model.sandbox import Change
from cloister.model.task import RECORDING, TaskState, artifacts_owner, shell_owner
from cloister.protocols import FileStore, TaskStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """The part of the front door that hands out what attempts left."""

    store: TaskStore
    files: FileStore

    async def change(self, task: str, *, attempt: int | None = None, turn: int | None = None) -> Change:
        """Return what an attempt changed, by default the best one's of the last turn; always against the task's base.

        NotFoundError for an unknown task, turn or attempt; ConflictError when there is no change to be had (yet).
        """
        status = await self.store.get(task)
        return change_of(status, attempt_of(status, attempt, turn))

    async def record(self, task: str, *, attempt: int | None = None, turn: int | None = None) -> bytes:
        """Return the signed record of an attempt, by default the best one's of the last turn: an envelope (DSSE).

        NotFoundError for an unknown task, turn or attempt, or without a record; ConflictError while it is not over.
        """
        status = await self.store.get(task)
        chosen = attempt_of(status, attempt, turn)
        record = await self.store.find_record(chosen.attempt)
        if record is not None:
            return record
        if chosen.state is not TaskState.FINISHED:
            raise ConflictError(
                f"attempt {chosen.number} of task {status.task.id} is {chosen.state}: its record is made at its end",
                hint=f"wait for it: cloister task wait {status.task.id}",
            )
        raise NotFoundError(
            f"attempt {chosen.number} of task {status.task.id} has no record",
            hint=f"cloister task logs {status.task.id} may say why; what ended before it began has none",
        )

    async def artifact(self, task: str, name: str, *, attempt: int | None = None, turn: int | None = None) -> bytes:
        """Return a file that an attempt's agent left, by default of the best one of the last turn. NotFoundError."""
        status = await self.store.get(task)
        chosen = attempt_of(status, attempt, turn)
        artifacts = chosen.outcome.artifacts if chosen.outcome else ()
        for number, artifact in enumerate(artifacts, 1):
            if artifact.name == name:
                return await self.files.read(artifacts_owner(chosen.attempt), str(number))
        raise NotFoundError(
            f"attempt {chosen.number} of task {status.task.id} left no artifact {name!r}",
            hint=f"those it left: cloister task artifacts {status.task.id}",
        )

    async def shell_recording(
        self, task: str, number: int, *, attempt: int | None = None, turn: int | None = None
    ) -> bytes:
        """Return what a person's shell in an attempt showed, as an asciicast. NotFoundError."""
        status = await self.store.get(task)
        chosen = attempt_of(status, attempt, turn)
        try:
            return await self.files.read(shell_owner(chosen.attempt, number), RECORDING)
        except NotFoundError as error:
            raise NotFoundError(
                f"there is no recording of a shell {number} in attempt {chosen.number} of task {status.task.id}",
                hint=f"cloister task logs {status.task.id} says who entered; it is kept when the shell ends",
            ) from error
