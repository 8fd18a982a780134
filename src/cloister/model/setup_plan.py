"""What automatic setup will do, and why: shown before it runs, and written out as a script."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallStep:
    """One package manager in one folder."""

    tool: str
    """The package manager, as its users call it."""
    folder: str
    """From the root of the repository; `""` is the root."""
    reason: str
    """The file that decided."""
    commands: tuple[str, ...]
    """Lines of bash, run in the folder."""
    inputs: tuple[str, ...]
    """Paths of the files that decide what is installed."""
    prelude: tuple[str, ...] = ()
    """Lines of bash that provide the tool itself; the same lines of several steps run once."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """What the tool, and what it installed, needs in setup and for the agent."""
    path: tuple[str, ...] = ()
    """Folders that go before PATH."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of the script that automatic setup runs."""

    tool: str
    """The package manager; `preparation` for what provides the tools themselves."""
    folder: str
    reason: str
    """The file that decided."""
    script: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetupPlan:
    """All that automatic setup will do."""

    steps: tuple[InstallStep, ...] = ()
    notes: tuple[str, ...] = ()
    """What was seen and is left to the user, one sentence each."""

    @property
    def variables(self) -> Mapping[str, str]:
        """Set in setup and for the agent, below the environment's own."""
        return {name: value for step in self.steps for name, value in step.variables.items()}

    @property
    def path(self) -> tuple[str, ...]:
        """Folders before PATH, in setup and for the agent."""
        return tuple(dict.fromkeys(folder for step in self.steps for folder in step.path))

    @property
    def inputs(self) -> tuple[str, ...]:
        """Paths of all files that decide what is installed, sorted."""
        return tuple(sorted({path for step in self.steps for path in step.inputs}))

    @property
    def script(self) -> str | None:
        """The plan as a bash script, run from the root of the repository with `-e`; None when nothing is to do."""
        return "\n\n".join(section.script for section in self.sections) + "\n" if self.steps else None

    @property
    def sections(self) -> tuple[Section, ...]:
        """The parts of `script`, in order."""
        preludes = dict.fromkeys(line for step in self.steps for line in step.prelude)
        first = [Section(tool=PREPARATION, folder="", reason="", script="\n".join(preludes))] if preludes else []
        return (*first, *map(_section, self.steps))


PREPARATION = "preparation"
NOTHING_PLANNED = SetupPlan()
"""There is no automatic setup, or it found nothing."""


def step_to_text(step: InstallStep) -> str:
    """Return `npm in web/ (web/package-lock.json): npm ci`."""
    return _on_one_line(f"{place_to_text(step.tool, step.folder, step.reason)}: {'; '.join(step.commands)}")


def place_to_text(tool: str, folder: str, reason: str) -> str:
    """Return `npm in web/ (web/package-lock.json)`."""
    place = f" in {folder}/" if folder else ""
    return _on_one_line(f"{tool}{place} ({reason})" if reason else f"{tool}{place}")


def _section(step: InstallStep) -> Section:
    lines = [f"# {step.tool}: {_on_one_line(step.reason)}", *step.commands]
    if step.folder:
        commands = (f"  {line}" for line in step.commands)
        lines = [lines[0], "(", f"  cd -- {shlex.quote(step.folder)}", *commands, ")"]
    return Section(tool=step.tool, folder=step.folder, reason=step.reason, script="\n".join(lines))


def _on_one_line(text: str) -> str:
    """A file's name is a stranger's text: it must not end the comment."""
    return "".join(character if character.isprintable() else "?" for character in text)
