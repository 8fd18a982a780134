"""The clean room: the checks run on the change alone, where the agent never was and nothing can be reached."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from cloister.errors import SandboxError, TaskFailedError
from cloister.journal import Journal
from cloister.model.check import LONGEST_REPORT, CheckResult, relied_on
from cloister.model.container import Foundation, container_variables, work_tree
from cloister.model.environment import Check
from cloister.model.event import CheckFinished
from cloister.model.network import EgressRecord, EgressTold
from cloister.model.phase import Phase
from cloister.model.sandbox import Change, Checkout, Command, EndCause, Exit
from cloister.model.task import Task
from cloister.model.universal import in_login_shell
from cloister.protocols import Sandbox
from cloister.services.follow import follow_with_services
from cloister.services.launch import with_services

_MOST_NAMED = 10
_REASONS = {
    EndCause.OUTPUT_LIMIT: "it printed more than limits.output allows",
    EndCause.OUT_OF_MEMORY: "it needed more than limits.memory allows",
    EndCause.DISK_FULL: "it failed on a full disk: it wrote all that limits.disk allows",
    EndCause.NO_INODES: "it failed on a full disk: it made as many files as limits.inodes allows",
    EndCause.STOPPED: "it was stopped",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanRoom:
    """Where checks run."""

    sandbox: Sandbox
    """As the attempt's own was before its agent started."""
    asked: set[str] = field(default_factory=set)
    """Hosts that somebody in there asked for, and did not get; emptied by each check."""

    def hearing(self, report: Callable[[EgressTold], None]) -> Callable[[EgressTold], None]:
        """Return a `report` for the room's network that also hears who is asked for."""

        def hear(told: EgressTold) -> None:
            if isinstance(told, EgressRecord):
                self.asked.add(told.host)
            report(told)

        return hear


async def run(
    task: Task,
    change: Change,
    room: CleanRoom,
    attempted: Sandbox,
    journal: Journal,
    *,
    foundation: Foundation,
    round_: int,
    seconds_left: Callable[[], float],
) -> tuple[CheckResult, ...]:
    """Apply the change and run each check in its order, whatever became of those before it.

    `attempted` is the agent's sandbox, which tells what a change does not hold. SandboxError when the change does not
    apply: it was made of this very commit, so that is never the agent's doing.
    """
    checks = _Checks(task, change, room, journal, foundation, round_, seconds_left)
    if not checks.have_begun():
        await _apply(task, change, room.sandbox)
    results = [await checks.run(check) for check in task.environment.checks]
    if not all(result.ok for result in results):
        left = await attempted.left_behind(change)
        results = [_with_left_behind(result, left) for result in results]
    for result in results:
        journal.record(
            CheckFinished(
                name=result.name,
                ok=result.ok,
                status=result.status,
                reason=result.reason,
                seconds=result.seconds,
                flaky=result.flaky,
                notes=result.notes,
                round=round_,
            )
        )
    return tuple(results)


async def _apply(task: Task, change: Change, sandbox: Sandbox) -> None:
    checkout = Checkout(
        commit=task.revision.commit, branch=task.branch, origin=task.repository.address, patch=change.diff
    )
    try:
        await sandbox.checkout(checkout)
    except TaskFailedError as error:
        raise SandboxError(f"the change does not apply in the clean room: {error}") from error


@dataclass(frozen=True, slots=True)
class _Checks:
    """What every check of one round needs."""

    task: Task
    change: Change
    room: CleanRoom
    journal: Journal
    foundation: Foundation
    round: int
    seconds_left: Callable[[], float]

    def have_begun(self) -> bool:
        """Whether a former worker had applied the change, and a check may run now."""
        return self.room.sandbox.has_started(self._name_of(self.task.environment.checks[0]))

    async def run(self, check: Check) -> CheckResult:
        """Run a check, and once more when it fails: who passes only then is called flaky."""
        result = await self._run_once(check, "")
        if result.ok:
            return result
        again = await self._run_once(check, "-again")
        return replace(again, flaky=True, notes=(*again.notes, f"at first {result.reason}")) if again.ok else result

    async def _run_once(self, check: Check, suffix: str) -> CheckResult:
        name = self._name_of(check, suffix)
        services, limits = self.task.environment.services, self.task.environment.limits
        timeout = min(check.timeout_seconds, self.seconds_left())
        if timeout <= 0:
            return CheckResult(name=check.name, ok=False, status=1, seconds=0.0, reason="limits.time was used up")
        sandbox = self.room.sandbox
        resumed = sandbox.has_started(name)
        self.room.asked.clear()
        began = time.monotonic()
        argv = ("/bin/bash", "-e", "-o", "pipefail", "/cloister/in/check.sh")
        command = Command(
            id=name,
            argv=in_login_shell(argv, self.foundation.path) if self.foundation.universal else argv,
            variables=container_variables(self.task, Phase.OUTPUT, self.foundation),
            cwd=work_tree(self.task),
            files={"check.sh": f"{check.command}\n".encode()},
            timeout_seconds=timeout,
            output_bytes=limits.output_bytes,
        )
        process = await sandbox.start(with_services(command, services))
        try:
            ended, last_words = await follow_with_services(
                process,
                name,
                services,
                sandbox,
                self.journal,
                resumed=resumed,
                log_bytes=limits.output_bytes,
                label=f"{name}:",
            )
            reason = _reason(ended, timeout)
        except TaskFailedError as error:  # a service that was not ready
            ended, last_words, reason = Exit(status=1), "", str(error)
        return CheckResult(
            name=check.name,
            ok=not reason,
            status=ended.status,
            seconds=time.monotonic() - began,
            reason=reason,
            last_words=last_words[-LONGEST_REPORT:] if reason else "",
            notes=self._notes(check, failed=bool(reason)),
        )

    def _name_of(self, check: Check, suffix: str = "") -> str:
        return f"check-{check.name}{f'-{self.round}' if self.round else ''}{suffix}"

    def _notes(self, check: Check, *, failed: bool) -> tuple[str, ...]:
        notes = []
        if failed and self.room.asked:
            hosts = ", ".join(sorted(self.room.asked)[:_MOST_NAMED])
            notes.append(f"it asked for {hosts}, and checks have no network")
        if decided := list(relied_on(check.command, self.change.paths)):
            notes.append(f"what it does is decided by files of the change: {_few(decided)}")
        return tuple(map(self.journal.mask_text, notes))


def _with_left_behind(result: CheckResult, left: Sequence[str]) -> CheckResult:
    if result.ok or not left:
        return result
    return replace(result, notes=(*result.notes, f"the agent also wrote what is no part of the change: {_few(left)}"))


def _reason(ended: Exit, timeout: float) -> str:
    if ended.cause is EndCause.TIMED_OUT:
        return f"it was stopped after {timeout:.0f} seconds"
    if ended.cause is not EndCause.EXITED:
        return _REASONS[ended.cause]
    return f"it ended with status {ended.status}" if ended.status else ""


def _few(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
