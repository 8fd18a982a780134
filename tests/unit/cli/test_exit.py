import errno

import anyio
import pytest
import typer
from typer.testing import CliRunner, Result

from cloister.cli.exit import CloisterGroup
from cloister.errors import CloisterError, DeniedError, StoreError, TaskFailedError, UsageError


def run(error: BaseException) -> Result:
    app = typer.Typer(cls=CloisterGroup)

    @app.callback()
    def options() -> None: ...

    @app.command()
    def fail() -> None:
        raise error

    return CliRunner().invoke(app, ["fail"])


@pytest.mark.parametrize(
    ("error", "code"), [(UsageError("x"), 2), (TaskFailedError("x"), 1), (StoreError("x"), 3), (DeniedError("x"), 5)]
)
def test_the_exit_code_is_the_errors(error: CloisterError, code: int) -> None:
    done = run(error)
    assert (done.exit_code, done.stdout, done.stderr) == (code, "", "error: x\n")


def test_a_hint_stands_below_and_neither_drives_the_terminal() -> None:
    done = run(UsageError("\x1b[31mwrong", hint="do \x1b[1mthis"))
    assert done.stderr == "error: wrong\nhint: do this\n"


def test_an_error_of_ours_is_found_in_a_group() -> None:
    group = ExceptionGroup("a", [ValueError("b"), ExceptionGroup("c", [UsageError("wrong")])])
    assert run(group).stderr == "error: wrong\n"


def test_a_full_disk_is_no_bug() -> None:
    done = run(OSError(errno.ENOSPC, "No space left on device", "/state/x"))
    assert done.exit_code == 3
    assert done.stderr.startswith("error: no space left on the device: /state/x\nhint: ")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), typer.Abort()])
def test_an_interruption_is_a_cancellation(error: BaseException) -> None:
    assert run(error).exit_code == 4


def test_an_exit_code_of_the_commands_own_is_kept() -> None:
    assert run(typer.Exit(1)).exit_code == 1
    assert run(SystemExit(7)).exit_code == 7


async def test_the_shape_that_task_groups_raise() -> None:
    async def fail() -> None:
        raise UsageError("wrong")

    with pytest.raises(ExceptionGroup) as caught:
        async with anyio.create_task_group() as group:
            group.start_soon(fail)
    assert (await anyio.to_thread.run_sync(run, caught.value)).exit_code == 2
