"""Checks that a person asks for again at the forge, of what Cloister pushed."""

from dataclasses import dataclass

from cloister.check_report_text import annotations_of, finished, running
from cloister.errors import UsageError
from cloister.intake import Intake
from cloister.model.check_report import CHECKS_NAME, CheckReport, Conclusion
from cloister.model.choice import best_attempt
from cloister.model.container import work_tree
from cloister.model.environment_source import SourceKind
from cloister.model.inbox import Arrived
from cloister.model.request import EnvironmentName, Request
from cloister.model.request_key import make_request_key
from cloister.model.sandbox import Commit
from cloister.model.task import AttemptStatus, Task, TaskState, TaskStatus
from cloister.protocols import CheckBoard, Forge, PublicationStore
from cloister.triggers.check_payloads import CheckRunPayload
from cloister.triggers.gatekeeper import Gatekeeper
from cloister.triggers.handling import Handled, LaterError
from cloister.triggers.payloads import read_payload

_WAIT_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ChecksAgain:
    """A `Handler`. A task of its own applies the change that was pushed, and no agent works in it."""

    gatekeeper: Gatekeeper
    intake: Intake
    forge: Forge
    board: CheckBoard
    publications: PublicationStore
    public_url: str | None = None
    kinds: frozenset[str] = frozenset({"check_run"})

    async def handle(self, arrived: Arrived) -> Handled | None:
        """See `handling.Handler`. LaterError until the checks ran."""
        payload = read_payload(CheckRunPayload, arrived)
        run, sender = payload.check_run, payload.sender
        if payload.action != "rerequested" or run.name != CHECKS_NAME or not run.external_id:
            return None
        repository = await self.gatekeeper.let_in(payload.repository.full_name, sender.login, is_bot=sender.is_bot)
        status = await self.intake.task(run.external_id.partition("-")[0])
        known = await self.publications.find(status.task.id)
        if known is None or known.pushed is None or known.pushed.head != run.head_sha:
            raise UsageError(f"{run.head_sha[:12]} is not what Cloister pushed last for task {status.task.id}")
        found = await self.gatekeeper.host.describe(status.task.repository)
        if found.name != (await self.gatekeeper.host.describe(repository)).name:
            raise UsageError(f"task {status.task.id} is of another repository")
        chosen = next((it for turn in status.turns for it in turn.attempts if it.attempt == known.pushed.attempt), None)
        head = known.pushed.head
        try:
            task = await self._ask(status, chosen, f"{run.id} {arrived.digest}", asked_by=f"github/{sender.login}")
        except UsageError as error:
            await self.board.report(status.task.repository, self._refusal(head, arrived, str(error)))
            raise
        return await self._end(status.task, task, head)

    async def _ask(self, status: TaskStatus, chosen: AttemptStatus | None, name: str, *, asked_by: str) -> Task:
        """Accept the task that runs them, once for each time that somebody asks."""
        key = make_request_key("github", f"checks {name}", b"", self.intake.now())
        if (kept := await self.intake.store.find_request(key.digest, key.at)) is not None:
            return (await self.intake.task(kept.task)).task
        former = status.task
        if chosen is None or chosen.outcome is None or chosen.outcome.change is None:
            raise UsageError("what was pushed is not known any more")
        source = former.environment_source
        if source is not None and source.kind is SourceKind.FILE:
            raise UsageError("the task's environment was a file that came with it, and is not here any more")
        stored = source is not None and source.kind is SourceKind.STORED
        request = Request(
            repository=former.repository.address,
            guarded=former.repository.guarded,
            prompt=f"Run the checks of {chosen.attempt} again",
            ref=former.revision.commit,
            environment=EnvironmentName(name=former.environment.name, version=source.version)
            if stored and source
            else None,
            command=":",
            patch=chosen.outcome.change.diff,
        )
        return await self.intake.submit(request, key, asked_by=asked_by)

    async def _end(self, former: Task, task: Task, head: Commit) -> Handled:
        address = f"{self.public_url}/tasks/{task.id}" if self.public_url else None
        status = await self.intake.task(task.id)
        if status.state is not TaskState.FINISHED:
            await self.board.report(former.repository, running(head, id=task.id, address=address))
            raise LaterError(f"task {task.id} runs the checks", seconds=_WAIT_SECONDS)
        outcome = best_attempt(status).outcome
        checks = outcome.checks if outcome is not None else ()
        named = annotations_of(checks, work_tree=work_tree(task))
        there = set(await self.forge.find_files(former.repository, head, sorted({it.path for it in named})))
        annotations = [it for it in named if it.path in there]
        report = finished(head, checks, id=task.id, address=address, annotations=annotations)
        await self.board.report(former.repository, report)
        return Handled(f"task {task.id}: {report.title}")

    def _refusal(self, head: Commit, arrived: Arrived, why: str) -> CheckReport:
        return CheckReport(
            commit=head,
            id=arrived.digest[:40],
            address=None,
            conclusion=Conclusion.NEUTRAL,
            title="The checks cannot be run again",
            summary=f"{why}.",
        )
