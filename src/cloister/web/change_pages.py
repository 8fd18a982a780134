"""The page of a change: its files as a tree, and their lines in parts. A large diff is read beside the loop."""

from dataclasses import dataclass
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from cloister.api.caller import Member, Viewer
from cloister.api.front import FrontDoor
from cloister.errors import NotFoundError, UsageError
from cloister.model.sandbox import Change
from cloister.web.chosen import ChosenAttempt, quiet_events
from cloister.web.diff_part import part_of
from cloister.web.diff_view import ROWS_AT_ONCE, FileDiff, Pair, Row, files_of, rows_of, side_by_side, unfolded
from cloister.web.file_tree import Folder, tree_of
from cloister.web.page import PageRoute
from cloister.web.posted import unix
from cloister.web.saved import saved_as
from cloister.web.task_view import task_page

MOST_FILES = 500
"""Shown on one page, and in its tree."""
LONGEST_QUOTE = 200
"""Characters of a line that a comment is on; see `review.js`."""

router = APIRouter(
    prefix="/tasks", tags=["tasks"], route_class=PageRoute, include_in_schema=False, default_response_class=HTMLResponse
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A part of a change, ready to be shown."""

    all_files: list[FileDiff]
    tree: Folder
    rows: dict[int, list[Row]]
    """By the file's number; files that are not in here are folded."""
    pairs: dict[int, list[Pair]]
    """The same rows side by side, where that is wanted."""
    more: dict[int, int]
    """How many rows come after these."""


@router.get("/{task}/changes")
async def changes(
    request: Request,
    intake: FrontDoor,
    _: Viewer,
    chosen: ChosenAttempt,
    view: Annotated[str, Query(pattern="^(unified|split)$")] = "unified",
    file: Annotated[int | None, Query(ge=1)] = None,
    row: Annotated[int, Query(ge=0)] = 0,
) -> Response:
    """Show what an attempt changed: all files, or one of them in parts."""
    change = chosen.attempt.outcome.change if chosen.attempt.outcome else None
    found = await to_thread.run_sync(_read, change, file, row, view == "split")
    return task_page(
        request,
        "changes.html",
        chosen,
        await quiet_events(intake, chosen),
        tab="changes",
        change=change,
        files=[found.all_files[file - 1]] if file else found.all_files[:MOST_FILES],
        reading=found,
        view=view,
        file=file,
        row=row,
        next_row=row + ROWS_AT_ONCE,
        rows_at_once=ROWS_AT_ONCE,
        last_row=lambda more: row + -(-more // ROWS_AT_ONCE) * ROWS_AT_ONCE,
    )


@router.post("/{task}/comment")
async def comment(
    task: str,
    intake: FrontDoor,
    caller: Member,
    path: Annotated[str, Form()],
    line: Annotated[int, Form(ge=1)],
    text: Annotated[str, Form(min_length=1)],
    attempt: Annotated[int | None, Form()] = None,
) -> Response:
    """Accept a follow-up that is a comment on one line, from pages without scripts."""
    change = await intake.results.change(task, attempt=attempt)
    quoted = await to_thread.run_sync(_line_of, change, path, line)
    prompt = f"Comments on the change of {path}:\n\n`{path}:{line}`\n\n    {quoted}\n\n{unix(text).strip()}"
    found, _turn = await intake.follow_up(task, prompt, attempt=attempt, asked_by=caller.name)
    return RedirectResponse(f"/tasks/{found}", 303)


@router.get("/{task}/patch", response_class=Response)
async def patch(task: str, intake: FrontDoor, _: Viewer, chosen: ChosenAttempt) -> Response:
    """Return a change to be saved."""
    change = await intake.results.change(task, attempt=chosen.attempt.number, turn=chosen.turn.number)
    name = f"{chosen.status.task.id}-{chosen.turn.number}-{chosen.attempt.number}.patch"
    return Response(change.diff, media_type="text/x-diff", headers=saved_as(name))


def _line_of(change: Change, path: str, line: int) -> str:
    """Return what a changed file has in that line now, as far as a comment quotes it. UsageError."""
    file = next((each for each in files_of(change.diff) if each.path == path), None)
    if file is None:
        raise UsageError(f"this change has no file {path}", hint="choose one of the list")
    row = next((row for row in rows_of(file) if row.new == line), None)
    if row is None:
        raise UsageError(f"the change of {path} shows no line {line}", hint="use a number of the right column")
    return "".join(part for part, _ in row.parts)[:LONGEST_QUOTE]


def _read(change: Change | None, file: int | None, row: int, is_split: bool) -> Reading:
    files = files_of(change.diff, change.flags) if change else []
    if file is not None and file > len(files):
        raise NotFoundError(f"this change has {len(files)} files; there is no number {file}")
    shown = [files[file - 1]] if file else unfolded(files)
    rows, more = dict[int, list[Row]](), dict[int, int]()
    for each in shown:
        rows[each.number], total = part_of(each, row, row + ROWS_AT_ONCE)
        if total > row + ROWS_AT_ONCE:
            more[each.number] = total - row - ROWS_AT_ONCE
    return Reading(
        all_files=files,
        tree=tree_of(files[:MOST_FILES]),
        rows=rows,
        more=more,
        pairs={number: side_by_side(it) for number, it in rows.items()} if is_split else {},
    )
