"""Reviews of pull requests: what GitHub takes as one, and which comments it refuses."""

import re
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from cloister.testing.github import answers
from cloister.testing.github.hosted import Caller, Hosted, Pull, Remark, ReviewOnForge
from cloister.testing.github.refusals import RefusedError, unprocessable

MOST_TEXT = 65536
"""Characters of a review, and of a comment."""
_HUNK = re.compile(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_STATES = {"APPROVE": "APPROVED", "REQUEST_CHANGES": "CHANGES_REQUESTED", "COMMENT": "COMMENTED"}


def post_review(url: str, repository: Hosted, pull: Pull, body: Mapping[str, Any], caller: Caller) -> object:
    """Keep a review, whole or not at all. RefusedError."""
    if not caller.may_review(repository):
        raise RefusedError(403, "Resource not accessible by integration")
    event = body.get("event")
    if body.get("commit_id", pull.last_head) != pull.last_head:
        raise unprocessable("commit_id is not part of the pull request")
    if event in ("APPROVE", "REQUEST_CHANGES") and caller.login == pull.author:
        raise unprocessable("Can not approve your own pull request")
    text = body.get("body") or ""
    if not text and not body.get("comments") and event in ("COMMENT", "REQUEST_CHANGES"):
        raise unprocessable("Review body can't be blank")
    if len(text) > MOST_TEXT:
        raise unprocessable(f"Body is too long (maximum is {MOST_TEXT} characters)")
    hunks = _shown_hunks(repository, pull)
    remarks = [_remark(hunks, comment) for comment in body.get("comments", ())]
    kept = ReviewOnForge(
        id=repository.id * 100_000 + pull.number * 1000 + len(pull.reviews) + 1,
        author=caller.login,
        state=_STATES.get(event or "", "PENDING"),
        body=text,
        commit=pull.last_head,
        remarks=remarks,
    )
    pull.reviews.append(kept)
    return answers.review(url, repository, pull, kept)


def _remark(hunks: "Sequence[set[tuple[str, str, int]]]", comment: Mapping[str, Any]) -> Remark:
    line, side = comment.get("line"), comment.get("side", "RIGHT")
    start, start_side = comment.get("start_line"), comment.get("start_side", side)
    if len(comment["body"]) > MOST_TEXT:
        raise unprocessable(f"Body is too long (maximum is {MOST_TEXT} characters)")
    own = [hunk for hunk in hunks if (comment["path"], side, line) in hunk]
    if line is None or not own:
        raise unprocessable("Pull request review thread line must be part of the diff")
    if start is not None:
        if start >= line and start_side == side:
            raise unprocessable("Pull request review thread start line must precede the end line.")
        if (comment["path"], start_side, start) not in own[0]:
            raise unprocessable("Pull request review thread start line must be part of the same hunk as the line.")
    return Remark(path=comment["path"], line=line, start_line=start, side=side, body=comment["body"])


def _shown_hunks(repository: Hosted, pull: Pull) -> Sequence[set[tuple[str, str, int]]]:
    """Return path, side and number of each line that the pull request's diff shows, hunk by hunk."""
    hunks: list[set[tuple[str, str, int]]] = []
    done = subprocess.run(
        ["git", f"--git-dir={repository.path}", "diff", "--find-renames", f"{pull.base}...{pull.last_head}"],
        check=True,
        capture_output=True,
    )
    path = ""
    for line in done.stdout.decode(errors="replace").splitlines():
        if line.startswith("--- a/"):
            path = line.removeprefix("--- a/")
        elif line.startswith("+++ b/"):
            path = line.removeprefix("+++ b/")
        elif hunk := _HUNK.match(line):
            old, olds, new, news = (1 if number is None else int(number) for number in hunk.groups())
            shown = {(path, "LEFT", number) for number in range(old, old + olds)}
            hunks.append(shown | {(path, "RIGHT", number) for number in range(new, new + news)})
    return hunks
