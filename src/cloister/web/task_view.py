"""What every page of a task shows: its head, the line of its phases, and where it is."""

from collections.abc import Iterable
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse

from cloister.api.caller import Caller
from cloister.model.environment_source import source_to_text
from cloister.model.event import AttemptStarted, EgressRefused, RecordedEvent
from cloister.model.task import TaskState
from cloister.model.token import Role
from cloister.web.chosen import Chosen
from cloister.web.page import render
from cloister.web.task_form import again_address


def task_page(
    request: Request, template: str, chosen: Chosen, events: list[RecordedEvent], **values: Any
) -> HTMLResponse:
    """Return a page of that attempt, whose events but its output are given."""
    source = chosen.status.task.environment_source
    is_over = chosen.status.state is TaskState.FINISHED
    has_change = chosen.attempt.outcome is not None and chosen.attempt.outcome.change is not None
    caller: Caller = request.state.caller
    return render(
        request,
        template,
        source=source_to_text(source) if source else "",
        attempt_state=state_of(chosen, events),
        can_follow=is_over and has_change and chosen.is_last_turn and caller.role.includes(Role.MEMBER),
        again=again_address(chosen.status.task),
        last_quiet=events[-1].seq if events else chosen.turn.seq - 1,
        chosen=chosen,
        status=chosen.status,
        task=chosen.status.task,
        attempt=chosen.attempt,
        outcome=chosen.attempt.outcome,
        phases=chosen.line(events),
        refused=refusals_of(chosen.attempt.attempt, events),
        **values,
    )


def state_of(chosen: Chosen, events: list[RecordedEvent]) -> str:
    """Return the verdict, or how far it has come: the events were read later than the attempt."""
    if chosen.attempt.outcome:
        return str(chosen.attempt.outcome.verdict)
    is_begun = any(isinstance(it.event, AttemptStarted) for it in chosen.own(events))
    return str(TaskState.RUNNING if is_begun else chosen.attempt.state)


def refusals_of(attempt: str, events: Iterable[RecordedEvent]) -> int:
    """Return how many requests of an attempt were refused."""
    return sum(isinstance(it.event, EgressRefused) for it in events if it.attempt == attempt)
