"""A whole installation for one test: its own state directory, the real parts, and `cloister` as a user calls it."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cloister.cli.json_lines import to_json
from cloister.event_line import event_to_line
from cloister.model.request import EnvironmentText, Request
from cloister.model.task import Outcome, TaskStatus
from cloister.protocols import Egress
from cloister.sandboxes.oci.paths import NodePaths, paths_of
from cloister.sandboxes.oci.snapshot_marker import read_marker
from cloister.settings import Settings
from cloister.wiring import Application, open_application

from .project import Project
from .terminal import User, at_terminal
from .warm import Warm, is_possible

CLOISTER = (str(Path(sys.executable).with_name("cloister")),)
QUIET = '[setup]\nautomatic = false\n[network]\nsetup = "off"\n'
"""An environment in which nothing happens but what a test adds."""

Event = dict[str, Any]


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def events(self) -> list[Event]:
        """What `--json` printed."""
        return [json.loads(line) for line in self.stdout.splitlines()]


@dataclass(frozen=True)
class Finished:
    """What became of a task that ran in this process."""

    status: TaskStatus
    events: list[Event]

    @property
    def outcome(self) -> Outcome:
        """Of its first attempt."""
        outcome = self.status.attempts[0].outcome
        assert outcome is not None
        return outcome

    @property
    def diff(self) -> str:
        assert self.outcome.change is not None, self.outcome
        return self.outcome.change.diff.decode(errors="surrogateescape")

    def printed(self, command: str) -> str:
        """All that a command printed on standard output."""
        return printed(self.events, command)

    def names(self) -> list[str]:
        return [event["event"] for event in self.events]


def printed(events: list[Event], command: str = "agent") -> str:
    """Join the output events of a command."""
    return "".join(
        event["text"]
        for event in events
        if event["event"] == "output" and event["command"] == command and event["stream"] == "stdout"
    )


@dataclass
class Installation:
    """A state directory, and a project to work on."""

    state: Path
    project: Project
    variables: dict[str, str] = field(default_factory=dict)
    """Added to the environment of every command."""
    warm: bool = True
    """Whether commands are forked from a process that has imported them (see `warm`), or started as anybody does."""

    @property
    def paths(self) -> NodePaths:
        return paths_of(self.state)

    @property
    def snapshots(self) -> list[Path]:
        """Disks that setup made, without those that agents left for follow-ups."""
        return [place for place in self.paths.snapshots.iterdir() if not self._attempt_of(place)]

    @property
    def final_disks(self) -> dict[str, Path]:
        """Disks that agents left, by the attempt's id."""
        return {attempt: place for place in self.paths.snapshots.iterdir() if (attempt := self._attempt_of(place))}

    def _attempt_of(self, place: Path) -> str:
        marker = read_marker(place)
        return marker.attempt if marker is not None else ""

    def cloister(self, *arguments: str | Path, cwd: Path | None = None, stdin: str | None = None) -> Ran:
        """Run one command to its end."""
        # Not as text: a diff may hold bytes that are not UTF-8, and carriage returns.
        with self._popen()(
            [*CLOISTER, *map(str, arguments)],
            cwd=cwd or self.project.path,
            env=self._environment(),
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            try:
                printed = process.communicate(stdin.encode() if stdin is not None else None, timeout=120)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        stdout, stderr = (data.decode(errors="surrogateescape") for data in printed)
        return Ran(process.returncode, stdout, stderr)

    @contextmanager
    def started(self, *arguments: str | Path) -> Iterator["Command"]:
        """Start a command; what is left of it at the end of the block is killed."""
        with self._popen()(
            [*CLOISTER, *map(str, arguments)],
            cwd=self.project.path,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                yield Command(process)
            finally:
                process.kill()

    def at_terminal(self, *arguments: str | Path) -> AbstractContextManager[User]:
        """Let a user start a command at a terminal of their own."""
        return at_terminal(
            [*CLOISTER, *map(str, arguments)],
            cwd=self.project.path,
            variables=self._environment(),
            warm=self._popen() is Warm,
        )

    def task(self, command: str = "true", *, environment: str = QUIET, prompt: str = "do it") -> list[str | Path]:
        """Arguments of `run` for a task in this environment, with JSON as the output."""
        return ["run", "--json", "--env", self.write(environment), "--command", command, prompt]

    def write(self, environment: str) -> Path:
        """Write an environment file, and return where."""
        file = self.state.with_name("environment.toml")
        file.write_text(environment)
        return file

    @asynccontextmanager
    async def opened(
        self, *, egress: Egress | None = None, settings: Mapping[str, Any] | None = None
    ) -> AsyncIterator["Running"]:
        """Open the installation in this process, its egress process replaced when another one is given."""
        async with open_application(Settings(state=self.state, **(settings or {}))) as application:
            if egress is not None:
                tools = dataclasses.replace(application.tools, egress=egress)
                application = dataclasses.replace(application, tools=tools)
            yield Running(application, self.project)

    def _popen(self) -> type["subprocess.Popen[Any]"]:
        return Warm if self.warm and is_possible(self._environment()) else subprocess.Popen

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "CLOISTER_STATE": str(self.state), **self.variables}


@dataclass(frozen=True)
class Running:
    """An open installation in this process."""

    application: Application
    project: Project

    async def run(self, command: str = "true", *, environment: str = QUIET, **request: Any) -> Finished:
        """Carry out one task."""
        task = await self.submit(command, environment=environment, **request)
        await self.application.work(until_idle=True)
        return await self.finished(task)

    async def submit(self, command: str = "true", *, environment: str = QUIET, **request: Any) -> str:
        """Accept a task, and return its id."""
        text = EnvironmentText(source="environment.toml", raw=environment.encode())
        asked = {"repository": str(self.project.path), "prompt": "do it", "environment": text, **request}
        return (await self.application.intake.submit(Request(command=command, **asked))).id

    async def finished(self, task: str) -> Finished:
        """What became of it."""
        status = await self.application.intake.task(task)
        events = [
            json.loads(to_json(event_to_line(event))) async for event in self.application.intake.events(status.task.id)
        ]
        return Finished(status, events)


@dataclass
class Command:
    """A command that runs."""

    process: subprocess.Popen[str]
    events: list[Event] = field(default_factory=list)

    @property
    def task(self) -> str:
        """The task that it follows."""
        return str(self.events[0]["task"])

    def until(self, name: str, **fields: str) -> Event:
        """Read events until one of this name and with these fields comes; in texts, a part is enough."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            event: Event = json.loads(line)
            self.events.append(event)
            if event["event"] == name and all(value in str(event[key]) for key, value in fields.items()):
                return event
        raise AssertionError(f"it ended with {self.end()} before {name} {fields}: {self.events[-3:]}")

    def interrupt(self) -> None:
        """What Ctrl-C does."""
        self.process.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """SIGKILL, and only to the command itself."""
        self.process.kill()
        self.process.wait()

    def end(self) -> Ran:
        """Wait for its end. The events that were read are left out of the output."""
        stdout, stderr = self.process.communicate(timeout=120)
        return Ran(self.process.returncode, stdout, stderr)
