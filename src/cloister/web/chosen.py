"""Which attempt of which turn a page of a task is about, and what is known of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Query

from cloister.api.front import FrontDoor
from cloister.intake import Intake
from cloister.model.choice import attempt_of, choose, turn_of
from cloister.model.event import RecordedEvent
from cloister.model.task import AttemptStatus, TaskState, TaskStatus, Turn
from cloister.web.phase_line import PhaseView, phase_line

TurnNumber = Annotated[int | None, Query(alias="turn", ge=1)]
AttemptNumber = Annotated[int | None, Query(alias="attempt", ge=1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """An attempt, in its turn, in its task."""

    status: TaskStatus
    turn: Turn
    attempt: AttemptStatus
    is_best: bool
    why_best: str

    @property
    def is_live(self) -> bool:
        """Whether more is to come."""
        return self.attempt.state is not TaskState.FINISHED

    @property
    def is_last_turn(self) -> bool:
        """Whether its turn is the one that a follow-up goes on from."""
        return self.turn.number == self.status.last_turn.number

    @property
    def query(self) -> str:
        """What addresses of this attempt's pages end with."""
        turn = [] if self.is_last_turn else [f"turn={self.turn.number}"]
        attempt = [] if self.is_best else [f"attempt={self.attempt.number}"]
        return "?" + "&".join((*turn, *attempt)) if turn or attempt else ""

    @property
    def options(self) -> str:
        """The same for command lines."""
        turn = "" if self.is_last_turn else f" --turn {self.turn.number}"
        return turn + ("" if self.is_best else f" --attempt {self.attempt.number}")

    def line(self, events: Sequence[RecordedEvent]) -> tuple[PhaseView, ...]:
        """Return its phases, as far as these events tell."""
        return phase_line(self.status.task.environment, self.own(events))

    def own(self, events: Sequence[RecordedEvent]) -> list[RecordedEvent]:
        """Return those of these events that are its own."""
        return [event for event in events if event.attempt == self.attempt.attempt]


async def choose_attempt(intake: Intake, task: str, turn: int | None, attempt: int | None) -> Chosen:
    """Return the attempt that an address means, by default the best of the last turn. NotFoundError."""
    status = await intake.task(task)
    meant = turn_of(status, turn)
    best = choose(meant.attempts)
    found = attempt_of(status, attempt, turn)
    return Chosen(
        status=status,
        turn=meant,
        attempt=found,
        is_best=found.attempt == best.attempt.attempt,
        why_best=best.reason,
    )


async def _meant(intake: FrontDoor, task: str, turn: TurnNumber = None, attempt: AttemptNumber = None) -> Chosen:
    return await choose_attempt(intake, task, turn, attempt)


ChosenAttempt = Annotated[Chosen, Depends(_meant)]
"""That which the address of a page means: `/tasks/{task}...?turn=2&attempt=1`."""


async def quiet_events(intake: Intake, chosen: Chosen) -> list[RecordedEvent]:
    """Return all events from the turn's beginning on, but what programs printed."""
    after = chosen.turn.seq - 1
    events = intake.events(chosen.status.task.id, after=after, output=False)
    return [recorded async for recorded in events]
