"""`cloister env check`: a repository is made ready as for a task, without an agent."""

from types import TracebackType
from typing import TYPE_CHECKING, Self

import typer

from cloister.cli.exit import code_of_verdict
from cloister.cli.run import new_view, run_and_follow, write_line
from cloister.cli.terminal import neutralize, output_console, print_line, print_table

if TYPE_CHECKING:
    from cloister.cli.live import View
    from cloister.model.event import RecordedEvent
    from cloister.model.fairness import HeldBy
    from cloister.model.request import EnvironmentChoice
    from cloister.model.task import TaskStatus


def check_environment(
    context: typer.Context,
    repository: str,
    *,
    ref: str | None,
    environment: "EnvironmentChoice | None",
    use_cache: bool,
    as_json: bool,
) -> None:
    """Run the check to its end, show what it found, and end the command as its verdict says."""
    from cloister.model.request import Request
    from cloister.model.task import CHECK

    request = Request(
        repository=repository,
        prompt="check that the repository can be made ready",
        ref=ref,
        environment=environment,
        agent=CHECK,
        use_cache=use_cache,
    )
    status = run_and_follow(context, request, as_json=as_json, make_view=_CheckView)
    assert status.verdict is not None
    raise typer.Exit(code_of_verdict(status.verdict))


class _CheckView:
    """Shows a task as `run` does, and at its end what was found out."""

    def __init__(self, status: "TaskStatus", *, as_json: bool) -> None:
        from cloister.check_report import CheckReport

        self._inner: View = new_view(status, as_json=as_json)
        self._as_json = as_json
        self._report = CheckReport()

    def __enter__(self) -> Self:
        self._inner.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._inner.__exit__(kind, error, trace)

    def show(self, recorded: "RecordedEvent") -> None:
        """Show it, and learn from it."""
        self._report.add(recorded)
        self._inner.show(recorded)

    def say(self, sentence: str) -> None:
        """Say it."""
        self._inner.say(sentence)

    def wait(self, place: int | None, held_by: "HeldBy | None" = None) -> None:
        """Say where it waits, and for what."""
        self._inner.wait(place, held_by)

    def tick(self) -> None:
        """Time has passed."""
        self._inner.tick()

    def finish(self, status: "TaskStatus") -> None:
        """Show the report, as tables or as the last object."""
        from cloister.cli.json_lines import to_json
        from cloister.cli.live import verdict_lines

        self._report.finish(status)
        if self._as_json:
            self._inner.finish(status)
            write_line(to_json(self._report.fields(status)))
            return
        console = output_console()
        print_line(console, "")
        print_table(console, ("step", "seconds", "network", "secrets"), list(self._report.step_rows()))
        if self._report.versions:
            print_line(console, "")
            print_table(console, ("found", "version"), list(self._report.versions.items()))
        if self._report.packages:
            print_line(console, "")
            print_table(console, ("packages", "how many"), self._report.packages)
        print_line(console, "")
        print_line(console, neutralize(self._report.snapshot_line()))
        for line in verdict_lines(status):
            print_line(console, line)
