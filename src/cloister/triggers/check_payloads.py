"""What Cloister reads of the events about checks; see `payloads`."""

from typing import Annotated

from pydantic import StringConstraints

from cloister.triggers.payloads import Name, Number, Part, Payload

CommitId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40,64}$")]


class CheckSuitePart(Part):
    """All checks of one program for a commit."""

    id: Number
    head_branch: Name | None = None
    head_sha: CommitId
    conclusion: Name | None = None


class CheckRunPart(Part):
    """One check."""

    id: Number
    name: Name
    head_sha: CommitId
    external_id: Name | None = None


class CheckSuitePayload(Payload):
    """`check_suite`: completed, ..."""

    check_suite: CheckSuitePart


class CheckRunPayload(Payload):
    """`check_run`: rerequested, ..."""

    check_run: CheckRunPart
