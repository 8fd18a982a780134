"""What a posted review says. Pure: what an agent wrote is shown as its words, and does nothing by itself."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cloister.diff_places import Place
from cloister.model.finding import Finding, FindingPriority, Side
from cloister.model.review import LineComment, Review, ReviewAsk
from cloister.model.sandbox import Commit
from cloister.neutral_text import fence_of, neutralize
from cloister.pull_request_text import as_quoted

LONGEST_REVIEW = 60_000
"""Characters of its text; GitHub takes 65,536 of it, and of a comment."""
MOST_COMMENTS = 50
"""On lines, in one review; the rest stands in the text."""
_LONGEST_BODY = 4_000
_MARK = "<!-- cloister-review: {} -->"


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A finding, and where it stands."""

    finding: Finding
    place: Place | None
    """None where the diff does not show its lines."""
    moved: bool = False
    """It was found at a commit that is not the head any more."""


def mark_of(task: str, turn: int) -> str:
    """Return what the review of a task's turn is found again by."""
    return _MARK.format(task if turn == 1 else f"{task} turn {turn}")


def comment_of(placed: Placed) -> LineComment:
    """Return the comment of a finding that has a place."""
    finding, place = placed.finding, placed.place
    assert place is not None
    parts = [_heading(finding), _said(finding.body)]
    if not place.whole:
        parts.append(f"(It is about the lines {finding.first_line} to {finding.line}.)")
    if finding.suggestion is not None:
        parts.append(_fenced("suggestion" if is_exact(placed) else "", finding.suggestion.new))
    return LineComment(
        path=finding.path,
        line=place.line,
        start_line=place.start_line,
        side=finding.side,
        body="\n\n".join(part for part in parts if part),
    )


def is_exact(placed: Placed) -> bool:
    """Whether a suggestion can be taken over as it is: the lines are all shown, and are what the agent read."""
    place, suggestion = placed.place, placed.finding.suggestion
    if suggestion is None or place is None or not place.whole or placed.finding.side is not Side.RIGHT:
        return False
    old, new = suggestion.old.removesuffix("\n"), suggestion.new
    return place.text == old and new.removesuffix("\n") != old and neutralize(new) == new


def text_of(
    ask: ReviewAsk,
    review: Review,
    *,
    task: str,
    turn: int,
    address: str | None,
    reviewed: Commit,
    head: Commit,
    comments: int,
    elsewhere: Sequence[Placed],
    known: int,
) -> str:
    """Return the text of a review, with its mark. `elsewhere` are the findings that stand at no line."""
    head_part = "\n\n".join(_lead(ask, review, reviewed, head, comments=comments, elsewhere=elsewhere, known=known))
    mark = mark_of(task, turn)
    foot = f"Task {address or task}. It approves nothing: people decide.\n\n{mark}"
    room = LONGEST_REVIEW - len(head_part) - len(foot)
    shown: list[str] = []
    for number, placed in enumerate(elsewhere):
        entry = _entry(placed)
        if len(entry) + 100 > room:
            shown.append(f"And {len(elsewhere) - number} more, which the task has.")
            break
        shown.append(entry)
        room -= len(entry) + 2
    return "\n\n".join([head_part, *shown, foot])


def _lead(
    ask: ReviewAsk,
    review: Review,
    reviewed: Commit,
    head: Commit,
    *,
    comments: int,
    elsewhere: Sequence[Placed],
    known: int,
) -> Iterator[str]:
    total = comments + len(elsewhere)
    asked = _asked(ask.lowest)
    some = f"**{total} finding{'s' * (total != 1)}** ({', '.join(asked)})"
    found = some if total else f"Nothing {'new ' if known else ''}found that is {' or '.join(asked)}"
    since = f" since {ask.since[:12]}" if ask.since else ""
    focus = f", for {as_quoted(' '.join(ask.focus.split()))}" if ask.focus else ""
    yield f"{found} in {reviewed[:12]}{since}{focus}."
    if reviewed != head:
        yield (
            f"{reviewed[:12]} is what was reviewed; {head[:12]} came meanwhile, and was not. Comments stand where the "
            "lines are still the same."
        )
    if known:
        yield f"{known} finding{'s' * (known != 1)} had been said before."
    if review.summary.strip():
        yield as_quoted(_cut(review.summary))


def _asked(lowest: FindingPriority) -> Sequence[str]:
    every = list(FindingPriority)
    return [str(it) for it in every[: every.index(lowest) + 1]]


def _entry(placed: Placed) -> str:
    finding = placed.finding
    place = finding.place.replace("`", "'")
    gone = ", which has changed since" if placed.moved else ""
    parts = [f"{_heading(finding)}\n`{neutralize(place)}`{gone}", _said(finding.body)]
    if finding.suggestion is not None:
        parts.append(_fenced("", finding.suggestion.new))
    return "\n\n".join(part for part in parts if part)


def _heading(finding: Finding) -> str:
    return f"**{finding.priority}** {as_quoted(' '.join(finding.title.split()))}"


def _said(text: str) -> str:
    return as_quoted(_cut(text)) if text.strip() else ""


def _fenced(kind: str, text: str) -> str:
    """A block of code that its content cannot end."""
    shown = (text if kind else neutralize(text)).removesuffix("\n")
    fence = fence_of(shown)
    return f"{fence}{kind}\n{shown}\n{fence}"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_BODY else f"{text[:_LONGEST_BODY]}\n(cut: the task has it all)"
