"""Word of tasks to one person: on their devices, and to programs of their own."""

import secrets
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NewType

from cloister.model.check import ChecksState, state_of
from cloister.model.choice import choose
from cloister.model.task import TaskId, TaskStatus, Turn, Verdict

ReceiverId = NewType("ReceiverId", str)

PLACE = "\x01notifications"
"""In the vault, where no environment is."""
KEY_NAME = "PUSH_KEY"
"""What the installation's own key for push services is called there (VAPID, RFC 8292)."""
LONGEST_TITLE = 90
LONGEST_LABEL = 100


class Occasion(StrEnum):
    """What somebody may be told of. Of several that apply, the first is told, once."""

    CHECK_FAILED = "check_failed"
    """A task is over, and a check failed on its best answer."""
    ASKS = "asks"
    """A task is over, and its answer ends with a question."""
    FINISHED = "finished"
    """A task is over, however it ended."""


class ReceiverKind(StrEnum):
    """How word gets there."""

    DEVICE = "device"
    """By the push service of a browser (Web Push, RFC 8030)."""
    WEBHOOK = "webhook"
    """Posted to an address, signed as Standard Webhooks are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receiver:
    """One device or address, and what is told to it. Where that is, and its keys, are in the vault."""

    id: ReceiverId
    holder: str
    """Whose it is: `token ID` or `user ID`; `owner`, of the state directory."""
    kind: ReceiverKind
    label: str
    """What its owner knows it by."""
    digest: str
    """Of its address, so that a device is there once."""
    occasions: tuple[Occasion, ...]
    everybody: bool
    """Whether it is told of everybody's tasks; else of its owner's alone."""
    created_at: datetime
    sent_at: datetime | None = None
    """When something was last taken there."""
    error: str = ""
    """Why the last trial failed."""

    @property
    def secret_name(self) -> str:
        """What its address and keys are called in the vault."""
        return f"RECEIVER_{self.id.upper()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DueNotice:
    """What is to be told now, of a turn that is over."""

    id: int
    receiver: Receiver
    task: TaskId
    turn: int
    created_at: datetime
    tries: int
    next_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What somebody reads."""

    occasion: Occasion | None
    """None for a test."""
    title: str
    body: str
    path: str
    """Of the page that it leads to."""


def occasions_of(turn: Turn) -> tuple[Occasion, ...]:
    """Return what a turn that is over is an occasion for."""
    outcome = choose(turn.attempts).attempt.outcome
    found = []
    if outcome is not None and state_of(outcome.checks) is ChecksState.FAILED:
        found.append(Occasion.CHECK_FAILED)
    if outcome is not None and outcome.verdict is Verdict.SUCCEEDED and outcome.message.rstrip().endswith("?"):
        found.append(Occasion.ASKS)
    return (*found, Occasion.FINISHED)


_WORDS = {Occasion.CHECK_FAILED: "Check failed", Occasion.ASKS: "Asks"}


def notice_of(status: TaskStatus, turn: Turn, occasion: Occasion) -> Notice:
    """Return what is told: few words of the request and the result, nothing that was printed."""
    outcome = choose(turn.attempts).attempt.outcome
    verdict = "over" if outcome is None else str(outcome.verdict)
    prompt = next((line.strip("# \t") for line in turn.prompt.splitlines() if line.strip("# \t")), "(no words)")
    parts = [status.task.repository.directory, verdict]
    if outcome is not None and outcome.change is not None and outcome.change.stats.files:
        stats = outcome.change.stats
        parts.append(f"+{stats.added} -{stats.removed}")
    if occasion is Occasion.CHECK_FAILED and outcome is not None:
        parts.append(f"failed: {', '.join(check.name for check in outcome.checks if not check.ok)}"[:LONGEST_TITLE])
    return Notice(
        occasion=occasion,
        title=f"{_WORDS.get(occasion, verdict.capitalize())}: {prompt}"[:LONGEST_TITLE],
        body=" · ".join(parts),
        path=f"/tasks/{status.task.id}",
    )


def new_receiver_id() -> ReceiverId:
    """Return a name for a receiver."""
    return ReceiverId(secrets.token_hex(6))
