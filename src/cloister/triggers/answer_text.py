"""What Cloister writes below what asked for work: one comment, which says in the end what came of it."""

from collections.abc import Sequence

from cloister.model.check import CheckResult
from cloister.model.publication import Published
from cloister.model.task import AttemptStatus, TaskId
from cloister.neutral_text import neutralize_line
from cloister.pull_request_text import quoted_within

OWN_MARK = "<!-- cloister: "
"""Begins every comment of Cloister's: nothing in one asks for work."""
_LONGEST_MESSAGE = 20_000
_LONGEST_DIFF = 20_000
_LONGEST_REASON = 1_000
_LONGEST_NAME = 100
_MOST_FLAGS, _MOST_NOTES, _MOST_CHECKS = 5, 5, 50


def mark_of(key: str) -> str:
    """Return what a comment of Cloister's begins with: it is found by that after a fault."""
    return f"{OWN_MARK}{key} -->"


def taken_text(key: str, task: TaskId, page: str | None, flags: Sequence[str]) -> str:
    """Say that work was begun."""
    return "\n\n".join([mark_of(key), f"Working on it: {_task(task, page)}.", *_flags(flags)])


def queued_text(key: str) -> str:
    """Say that work will be begun."""
    return f"{mark_of(key)}\n\nThis is next, as soon as the work that is under way here is over."


def refused_text(key: str, reason: str, hint: str | None = None) -> str:
    """Say why none was."""
    said = f"{reason} ({hint})" if hint else reason
    return f"{mark_of(key)}\n\nThis was not begun: {_plain(said)}"


def done_text(
    key: str,
    task: TaskId,
    page: str | None,
    chosen: AttemptStatus,
    *,
    flags: Sequence[str] = (),
    published: Published | None = None,
    reason: str = "",
    adopted: str | None = None,
    diff: str = "",
) -> str:
    """Say what came of it: `reason` is why nothing was published, `diff` what was changed where it cannot be."""
    outcome = chosen.outcome
    assert outcome is not None
    parts = [mark_of(key), _headline(published, adopted, reason)]
    if outcome.message.strip():
        parts.append(quoted_within(outcome.message, _LONGEST_MESSAGE))
    if diff and "```" not in diff:
        parts.append(f"```diff\n{_cut(diff, _LONGEST_DIFF)}\n```")
    if outcome.checks:
        parts.append(_checks(outcome.checks))
    parts += [*_flags(flags), *_notes(published), f"{_task(task, page)[0].upper()}{_task(task, page)[1:]}"]
    return "\n\n".join(parts)


def _checks(checks: Sequence[CheckResult]) -> str:
    """Say how they ended; those that failed first where there are many."""
    shown = checks if len(checks) <= _MOST_CHECKS else sorted(checks, key=lambda check: check.ok)[:_MOST_CHECKS]
    lines = [f"- {_plain(it.name, _LONGEST_NAME)}: {'passed' if it.ok else 'failed'}" for it in shown]
    return "\n".join([*lines, *([f"- and {len(checks) - len(shown)} more"] if len(shown) < len(checks) else [])])


def _headline(published: Published | None, adopted: str | None, reason: str) -> str:
    if published is None:
        return _plain(reason)
    if adopted is not None:
        return f"Pushed {published.commit[:12]} to `{neutralize_line(adopted).replace('`', '')}`."
    pull = published.pull_request
    return f"{'Opened' if published.opened else 'Updated'} #{pull.number}."


def _notes(published: Published | None) -> list[str]:
    if published is None or not published.notes:
        return []
    return ["\n".join(f"- {_plain(note)}" for note in published.notes[:_MOST_NOTES])]


def _flags(flags: Sequence[str]) -> list[str]:
    if not flags:
        return []
    shown = [f"- {_plain(flag)}" for flag in flags[:_MOST_FLAGS]]
    return [
        "\n".join(["This thread has text that tries to direct the agent; it was told to leave that alone:", "", *shown])
    ]


def _task(task: TaskId, page: str | None) -> str:
    return f"[task {task}]({page})" if page else f"task `{task}`"


def _plain(text: str, most: int = _LONGEST_REASON) -> str:
    """Show words of anybody on one line, so that they do nothing."""
    return " ".join(quoted_within(neutralize_line(text), most).replace("`", "'").splitlines())


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}\n(cut: the task has it all)"
