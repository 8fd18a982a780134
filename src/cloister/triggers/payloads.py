"""What Cloister reads of the events of GitHub: no more than it needs, of bounded size.

Each model is a part of what `Webhook events and payloads` in GitHub's documentation describes; what else is there is
left alone. It says where to look, and nothing in it is acted on without being asked of the forge again.
"""

from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from cloister.errors import UsageError
from cloister.model.inbox import Arrived

MOST_TEXT = 300_000
"""Characters of what somebody wrote; GitHub takes 65,536."""
Login = Annotated[str, StringConstraints(min_length=1, max_length=100)]
FullName = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,98}/[A-Za-z0-9._-]{1,100}$", max_length=200)
]
Number = Annotated[int, Field(ge=1, lt=2**53)]
Name = Annotated[str, Field(max_length=1000)]
Text = Annotated[str, Field(max_length=MOST_TEXT)]
PayloadT = TypeVar("PayloadT", bound="Payload")


class Part(BaseModel):
    """A part of a payload."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True, hide_input_in_errors=True)


class UserPart(Part):
    """Who did it."""

    login: Login
    type: Name = "User"

    @property
    def is_bot(self) -> bool:
        """Whether it is a program, as far as GitHub knows."""
        return self.type == "Bot" or self.login.endswith("[bot]")


class RepositoryPart(Part):
    """Where it happened. The number stays when the name changes."""

    id: Number
    full_name: FullName


class LabelPart(Part):
    """A label."""

    name: Name


class IssuePart(Part):
    """An issue, or a pull request as one."""

    number: Number
    body: Text | None = None
    pull_request: dict[str, object] | None = None


class WrittenPart(Part):
    """A comment, or a review."""

    id: Number
    body: Text | None = None
    in_reply_to_id: Number | None = None


class PullPart(Part):
    """A pull request."""

    number: Number
    body: Text | None = None


class Payload(Part):
    """What every event has that happens in a repository."""

    action: Name
    repository: RepositoryPart
    sender: UserPart


class IssueCommentPayload(Payload):
    """`issue_comment`: below an issue or a pull request."""

    issue: IssuePart
    comment: WrittenPart


class IssuesPayload(Payload):
    """`issues`: opened, labeled, assigned, ..."""

    issue: IssuePart
    label: LabelPart | None = None
    assignee: UserPart | None = None


class PullRequestPayload(Payload):
    """`pull_request`: opened, ready for review, with new commits, ..."""

    pull_request: PullPart
    label: LabelPart | None = None
    assignee: UserPart | None = None


class ReviewPayload(Payload):
    """`pull_request_review`: a review as a whole."""

    pull_request: PullPart
    review: WrittenPart


class ReviewCommentPayload(Payload):
    """`pull_request_review_comment`: on lines of a pull request."""

    pull_request: PullPart
    comment: WrittenPart


def read_payload(model: type[PayloadT], arrived: Arrived) -> PayloadT:
    """Read a delivery. UsageError, which is the end of it, when it is not as GitHub describes it."""
    try:
        return model.model_validate_json(arrived.body)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"][:8])
        raise UsageError(f"a delivery of {arrived.kind} cannot be read: {place or 'body'}: {first['msg']}") from error
