"""How a command ends: exit codes, and one line for every error."""

import errno
import os
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.text import Text
from typer.core import TyperGroup

from cloister.cli.terminal import error_console, leave_broken_pipe, neutralize, print_line
from cloister.errors import CloisterError, DiskFullError

if TYPE_CHECKING:
    from cloister.model.task import Verdict

CANCELLED = 4
FAILED_CHECKS = 1
"""Of a task that succeeded, when its checks were required to pass."""
CHANGED_DISK = 1
"""Of a kept disk that is not, or cannot be said to be, what was kept."""
BUG = 3
BROKEN_PIPE = 141
"""128 + SIGPIPE, as a shell reports it."""


def code_of_verdict(verdict: "Verdict") -> int:
    """Return the exit code of a command whose task ended so."""
    from cloister.model.task import Verdict

    codes = {Verdict.SUCCEEDED: 0, Verdict.FAILED: 1, Verdict.ERRORED: 3, Verdict.CANCELLED: CANCELLED}
    return codes[verdict]


class CloisterGroup(TyperGroup):
    """Turns what a command raises into a line on standard error and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        with _told():
            return super().invoke(ctx)


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        code = _tell(_innermost(error))
        if code is None:
            raise
        raise typer.Exit(code) from error


def _tell(error: BaseException) -> int | None:
    """Say what happened; None when it is for somebody else to say."""
    match error:
        case CloisterError():
            say_error(error)
            return error.exit_code
        case KeyboardInterrupt() | typer.Abort():
            print_line(error_console(), "cancelled; nothing was started")
            return CANCELLED
        case BrokenPipeError():
            leave_broken_pipe()
            return BROKEN_PIPE
        case typer.Exit() | typer.TyperException() | SystemExit() | GeneratorExit():
            return None
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            hint = "free some, or name another state directory with CLOISTER_STATE"
            say_error(DiskFullError(f"no space left on the device: {error.filename or 'state directory'}", hint=hint))
            return DiskFullError.exit_code
        case _:
            _tell_bug(error)
            return BUG


def say_error(error: CloisterError) -> None:
    """Print an error and its hint on standard error."""
    console = error_console()
    print_line(console, Text.assemble(("error: ", "bold red"), neutralize(error.message)))
    if error.hint:
        print_line(console, Text.assemble(("hint: ", "bold"), neutralize(error.hint)))


def _tell_bug(error: BaseException) -> None:
    if os.environ.get("CLOISTER_DEBUG"):
        traceback.print_exception(error, file=sys.stderr)
    kept = _keep_traceback(error)
    where = f"; its traceback is in {kept}" if kept else "; set CLOISTER_DEBUG=1 to see its traceback"
    what = neutralize(f"{type(error).__name__}: {error}".split("\n", 1)[0])
    print_line(error_console(), Text.assemble(("error: ", "bold red"), f"this is a bug in Cloister: {what}{where}"))


def _keep_traceback(error: BaseException) -> Path | None:
    from cloister.settings_files import load_settings

    try:
        folder = load_settings().log_directory
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / f"bug-{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}.txt"
        path.touch(mode=0o600)
        path.write_text("".join(traceback.format_exception(error)))
    except (OSError, CloisterError):
        return None
    return path


def _innermost(error: BaseException) -> BaseException:
    """Look into groups that task groups make: at an error of ours first, and else at the first."""
    while isinstance(error, BaseExceptionGroup):
        ours = error.subgroup(CloisterError)
        error = (ours or error).exceptions[0]
    return error
