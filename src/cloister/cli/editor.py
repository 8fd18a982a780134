"""Lets a user change a text in their own editor, without ever losing it."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import typer

from cloister.cli.environment_argument import read_input
from cloister.cli.exit import say_error
from cloister.cli.terminal import error_console, print_line
from cloister.errors import UsageError

T = TypeVar("T")

_USUAL = ("editor", "vi", "nano")


def edit_text(text: str, *, file_name: str, save: Callable[[bytes], T], later: str) -> T | None:
    """Let the user change `text` until `save` takes it; return what that returned, or None when nothing was changed.

    `save` raises UsageError for what it refuses: on a terminal the user may then go on. Whatever ends this before
    `save` has taken the text, it stays in a file; `later` is the command that takes such a file.
    """
    editor = find_editor()
    draft = Path(tempfile.mkdtemp(prefix="cloister-")) / file_name
    draft.write_text(text, newline="")
    with _kept_unless_saved(draft, text.encode(), later):
        while True:
            _run(editor, draft)
            changed = read_input(draft, "text that was edited")
            if changed == text.encode():
                return None
            try:
                saved = _save(changed, save)
            except UsageError as error:
                if not _is_interactive():
                    raise
                say_error(error)
                if not typer.confirm("Edit it again?", default=True, err=True):
                    raise typer.Exit(error.exit_code) from error
            else:
                shutil.rmtree(draft.parent)
                return saved


def find_editor() -> str:
    """Return the user's editor, as a shell reads it: $VISUAL, else $EDITOR, else a usual one. UsageError."""
    given = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    usual = next(filter(shutil.which, _USUAL), None) if _is_interactive() else None
    if not (editor := given or usual):
        raise UsageError("there is no editor to change the text with", hint="set EDITOR, or give the text: --file FILE")
    return editor


def _is_interactive() -> bool:
    return sys.stdin.isatty()


def _save(changed: bytes, save: Callable[[bytes], T]) -> T:
    if not changed.strip():
        raise UsageError("the text is empty; nothing was stored")
    return save(changed)


@contextmanager
def _kept_unless_saved(draft: Path, before: bytes, later: str) -> Iterator[None]:
    try:
        yield
    finally:
        if draft.exists() and draft.read_bytes() != before:
            print_line(error_console(), f"your text is kept; to store it: {later} {shlex.quote(str(draft))}")
        else:
            shutil.rmtree(draft.parent, ignore_errors=True)


def _run(editor: str, draft: Path) -> None:
    # By a shell, as git does it: there may be options and quotes in it.
    process = subprocess.Popen(["sh", "-c", f'{editor} "$@"', "sh", str(draft)])
    # Ctrl-C in an editor is for the editor. Set after its start, or it would ignore it too.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        status = process.wait()
    finally:
        signal.signal(signal.SIGINT, before)
    if status != 0:
        raise UsageError(f"the editor {editor!r} ended with {status}; nothing was stored")
