"""What is asked of tasks: accept one, follow it, end it, and fetch what it left."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import datetime

import anyio
import httpx

from cloister.api.requests import request_to_fields, uploads_to_fields
from cloister.api.wire import AcceptedTurn
from cloister.client.connection import new_key, numbers_given, path_part, read_as, read_status
from cloister.client.repositories import RepositoryCalls
from cloister.event_line import line_to_event
from cloister.model.cancellation import AT_ONCE, Cancellation
from cloister.model.choice import attempt_of
from cloister.model.event import AttemptFinished, RecordedEvent
from cloister.model.given import Upload
from cloister.model.request import Request
from cloister.model.sandbox import Change
from cloister.model.statistics import Statistics
from cloister.model.task import AttemptId, AttemptStatus, FollowUp, Task, TaskId, TaskState, TaskStatus, Turn, Verdict

_PAUSE_SECONDS = 1.0
"""Before an event stream that broke is asked for again."""
_PATIENCE_SECONDS = 600.0
"""How long nobody may answer meanwhile: a server that is started anew is back by then."""


class TaskCalls(RepositoryCalls):
    """Tasks, their turns and attempts."""

    __slots__ = ()

    async def submit(self, request: Request, *, idempotency_key: str | None = None) -> Task:
        """Accept a task; it is on disk when this returns. Twice with the same key, it is one task."""
        headers = {"traceparent": str(request.trace_parent)} if request.trace_parent else {}
        request = replace(request, repository=await self._reachable(request.repository))
        fields, key = request_to_fields(request), idempotency_key or new_key()
        return read_status(await self._call("POST", "/tasks", fields, key=key, headers=headers)).task

    async def task(self, task: str, *, diffs: bool = False) -> TaskStatus:
        """Where a task is, by its id or a unique beginning of it; with `diffs`, they are in its changes."""
        status = read_status(await self._call("GET", f"/tasks/{path_part(task)}"))
        if not diffs:
            return status
        turns = tuple([await self._with_diffs(status, turn) for turn in status.turns])
        return replace(status, attempts=turns[-1].attempts, turns=turns)

    async def tasks(
        self,
        *,
        limit: int = 50,
        before: str | None = None,
        environment: str | None = None,
        state: TaskState | Verdict | None = None,
        text: str = "",
        archived: bool = False,
    ) -> Sequence[TaskStatus]:
        """The newest tasks, newest first: those accepted before the task `before`, and of that environment.

        Those that are in that state, or ended with that verdict; those with that text in the prompt or the repository's
        address, or at the beginning of the id. Those that are not archived, or the others. A search goes on, a page
        after the other, until so many are found.
        """
        asked = {
            "limit": limit,
            "cursor": before,
            "environment": environment,
            "state": state,
            "text": text or None,
            "archived": archived,
        }
        query = {name: value for name, value in asked.items() if value is not None}
        found: list[TaskStatus] = []
        while True:
            page = await self._call("GET", "/tasks", query={**query, "limit": limit - len(found)})
            found += [read_status(one) for one in page["items"]]
            if page["cursor"] is None or len(found) >= limit:
                return found
            query["cursor"] = page["cursor"]

    async def events(
        self, task: TaskId, *, after: int = 0, follow: bool = False, output: bool = True
    ) -> AsyncIterator[RecordedEvent]:
        """What happened in a task, from after that `seq`; with `follow` until it is over.

        Without `output`, what programs printed is left out. A stream that breaks is taken up where it broke.
        """
        deadline = anyio.current_time() + _PATIENCE_SECONDS
        while True:
            query = {"after": after, "follow": follow, "output": output}
            try:
                async for name, line in self._stream(f"/tasks/{path_part(task)}/events", query):
                    deadline = anyio.current_time() + _PATIENCE_SECONDS
                    if name == "end":
                        return
                    after = line["seq"]
                    yield line_to_event(line)
            except httpx.TransportError as error:
                if anyio.current_time() > deadline:
                    raise self._unreachable(error) from error
            await anyio.sleep(_PAUSE_SECONDS)

    async def wait(self, task: TaskId, *, diffs: bool = False) -> TaskStatus:
        """Return where the task is once it is over."""
        async for _ in self.events(task, follow=True, output=False):
            pass
        return await self.task(task, diffs=diffs)

    async def wait_for_attempt(self, task: TaskId, attempt: AttemptId) -> TaskStatus:
        """Return where the task is once that attempt is over."""
        async for recorded in self.events(task, follow=True, output=False):
            if recorded.attempt == attempt and isinstance(recorded.event, AttemptFinished):
                break
        return await self.task(task)

    async def follow_up(
        self,
        task: str,
        prompt: str,
        *,
        attempt: int | None = None,
        attempts: int = 1,
        files: Sequence[Upload] = (),
        idempotency_key: str | None = None,
    ) -> tuple[TaskId, FollowUp]:
        """Accept one more turn of a task, which goes on from an attempt of the last, by default the best."""
        fields = {"prompt": prompt, "attempt": attempt, "attempts": attempts, "files": uploads_to_fields(files)}
        path, key = f"/tasks/{path_part(task)}/turns", idempotency_key or new_key()
        accepted = read_as(AcceptedTurn, await self._call("POST", path, fields, key=key))
        return TaskId(accepted.task), accepted.turn

    async def cancel(self, task: str, *, attempt: int | None = None, cancellation: Cancellation = AT_ONCE) -> TaskId:
        """Ask for the end of a task, or of one attempt of it; returns its full id, and does not wait."""
        query = {"grace_seconds": cancellation.grace_seconds, "collect": cancellation.collect}
        chosen = {} if attempt is None else {"attempt": attempt}
        return read_status(await self._call("POST", f"/tasks/{path_part(task)}/cancel", query=query | chosen)).task.id

    async def archive(self, task: str) -> TaskStatus:
        """Leave a task that is over out of lists."""
        return read_status(await self._call("POST", f"/tasks/{path_part(task)}/archive"))

    async def restore(self, task: str) -> TaskStatus:
        """Show a task in lists again."""
        return read_status(await self._call("POST", f"/tasks/{path_part(task)}/restore"))

    async def change(self, task: str, *, attempt: int | None = None, turn: int | None = None) -> Change:
        """What an attempt changed, by default the best one's of the last turn."""
        status = await self.task(task)
        chosen = attempt_of(status, attempt, turn)
        diff = await self._diff(status, chosen, turn or status.last_turn.number)
        assert chosen.outcome is not None and chosen.outcome.change is not None, "its diff was there"
        return replace(chosen.outcome.change, diff=diff)

    async def record(self, task: str, *, attempt: int | None = None, turn: int | None = None) -> bytes:
        """The signed record of an attempt, by default the best one's of the last turn: an envelope (DSSE)."""
        return await self._get(f"/tasks/{path_part(task)}/record", numbers_given(attempt=attempt, turn=turn))

    async def artifact(self, task: str, name: str, *, attempt: int | None = None, turn: int | None = None) -> bytes:
        """A file that an attempt's agent left, by default of the best one of the last turn."""
        query = {"name": name, **numbers_given(attempt=attempt, turn=turn)}
        return await self._get(f"/tasks/{path_part(task)}/artifact", query)

    async def shell_recording(
        self, task: str, number: int, *, attempt: int | None = None, turn: int | None = None
    ) -> bytes:
        """What a person's shell in an attempt showed, as an asciicast."""
        return await self._get(f"/tasks/{path_part(task)}/shells/{number}", numbers_given(attempt=attempt, turn=turn))

    async def statistics(
        self, since: datetime | None = None, until: datetime | None = None, *, parts: int = 7
    ) -> Statistics:
        """How tasks ended, how soon they started, whom they asked and what they used; by default of the last week."""
        times = {"since": since, "until": until}
        query = {name: time.isoformat() for name, time in times.items() if time is not None}
        return read_as(Statistics, await self._call("GET", "/statistics", query={**query, "parts": parts}))

    async def _with_diffs(self, status: TaskStatus, turn: Turn) -> Turn:
        return replace(turn, attempts=tuple([await self._with_diff(status, one, turn.number) for one in turn.attempts]))

    async def _with_diff(self, status: TaskStatus, attempt: AttemptStatus, turn: int) -> AttemptStatus:
        outcome = attempt.outcome
        if outcome is None or outcome.change is None:
            return attempt
        change = replace(outcome.change, diff=await self._diff(status, attempt, turn))
        return replace(attempt, outcome=replace(outcome, change=change))

    async def _diff(self, status: TaskStatus, attempt: AttemptStatus, turn: int) -> bytes:
        query = {"attempt": attempt.number, "turn": turn}
        return await self._get(f"/tasks/{path_part(status.task.id)}/diff", query)
