"""Where an event says that something was written: what each kind means, before anything of it is believed."""

from dataclasses import dataclass

from cloister.model.inbox import Arrived
from cloister.model.thread import Place, PlaceKind
from cloister.triggers.payloads import (
    IssueCommentPayload,
    IssuesPayload,
    Payload,
    PullRequestPayload,
    ReviewCommentPayload,
    ReviewPayload,
    read_payload,
)

KINDS = frozenset({"issue_comment", "issues", "pull_request", "pull_request_review", "pull_request_review_comment"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Pointer:
    """Where to look."""

    repository: str
    repository_id: int
    sender: str
    is_bot: bool
    place: Place
    text: str
    """What the event says is written there: reason enough to look, and for nothing else."""
    label: str | None = None
    """Put on the issue."""
    assignee: str | None = None
    """To whom the issue was assigned."""

    @property
    def key(self) -> str:
        """See `Asked.key`."""
        id = self.place.id or self.place.number
        return f"{self.repository_id}/{self.place.kind}/{id}"


def find_pointer(arrived: Arrived) -> Pointer | None:
    """Return where somebody wrote, labelled or assigned something; None for what is of no interest. UsageError."""
    match arrived.kind:
        case "issue_comment":
            about = read_payload(IssueCommentPayload, arrived)
            place = Place(kind=PlaceKind.COMMENT, number=about.issue.number, id=about.comment.id)
            return _pointer(about, place, about.comment.body) if about.action == "created" else None
        case "pull_request_review_comment":
            lines = read_payload(ReviewCommentPayload, arrived)
            place = Place(kind=PlaceKind.LINE, number=lines.pull_request.number, id=lines.comment.id)
            return _pointer(lines, place, lines.comment.body) if lines.action == "created" else None
        case "pull_request_review":
            review = read_payload(ReviewPayload, arrived)
            place = Place(kind=PlaceKind.REVIEW, number=review.pull_request.number, id=review.review.id)
            return _pointer(review, place, review.review.body) if review.action == "submitted" else None
        case "pull_request":
            pull = read_payload(PullRequestPayload, arrived)
            place = Place(kind=PlaceKind.OPENING, number=pull.pull_request.number)
            return _pointer(pull, place, pull.pull_request.body) if pull.action == "opened" else None
        case "issues":
            return _of_issue(read_payload(IssuesPayload, arrived))
        case _:
            return None


def _of_issue(issue: IssuesPayload) -> Pointer | None:
    place = Place(kind=PlaceKind.OPENING, number=issue.issue.number)
    match issue.action:
        case "opened":
            return _pointer(issue, place, issue.issue.body)
        case "labeled" if issue.label is not None:
            return _pointer(issue, place, "", label=issue.label.name)
        case "assigned" if issue.assignee is not None:
            return _pointer(issue, place, "", assignee=issue.assignee.login)
        case _:
            return None


def _pointer(
    payload: Payload, place: Place, text: str | None, *, label: str | None = None, assignee: str | None = None
) -> Pointer:
    return Pointer(
        repository=payload.repository.full_name,
        repository_id=payload.repository.id,
        sender=payload.sender.login,
        is_bot=payload.sender.is_bot,
        place=place,
        text=text or "",
        label=label,
        assignee=assignee,
    )
