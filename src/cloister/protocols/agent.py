"""Agents: how they are started, what they say, and their programs."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from cloister.model.agent import AgentCommand, AgentTurn
from cloister.model.agent_report import AgentReport
from cloister.model.image import BuildProgress
from cloister.model.model_access import ModelApi
from cloister.model.pack import Pack, PackRecipe


class AgentParser(Protocol):
    """Reads what one run of an agent prints on standard output. It never fails: bytes of a sandbox are its input.

    What it does not understand is a `Plain` report, so that nothing is lost.
    """

    def feed(self, line: str) -> Sequence[AgentReport]:
        """Return what a line says, which comes without its end. Lines are fed in order, each once."""
        ...

    def close(self) -> Sequence[AgentReport]:
        """Return what is left to say: there are no more lines."""
        ...


class Agent(Protocol):
    """A program that does the work."""

    @property
    def name(self) -> str:
        """What users and environments call it."""
        ...

    @property
    def api(self) -> ModelApi | None:
        """The protocol in which it talks to a model: a turn has an access then. None for one that needs none."""
        ...

    @property
    def pack(self) -> PackRecipe | None:
        """What has to be installed on the node for it; None for one that takes what the image has."""
        ...

    def command(self, turn: AgentTurn) -> AgentCommand:
        """Return the program to run in the sandbox, at the work tree. UsageError when the task lacks what it needs.

        The same turn is always the same program.
        """
        ...

    def parser(self) -> AgentParser | None:
        """A new parser for one run's standard output; None when that is plain output and nothing else."""
        ...


class AgentPacks(Protocol):
    """What was installed for agents on this node."""

    async def install(self, recipe: PackRecipe, report: Callable[[BuildProgress], None]) -> Pack:
        """Fetch and make the recipe's pack, and let it be the one of its agent. No code of its packages is run.

        Sandboxes that see a former pack of that agent go on seeing it. HostError when the host lacks a program,
        SandboxError with the last lines of a client that failed, DiskFullError.
        """
        ...

    async def find(self, name: str) -> Pack | None:
        """Return the installed pack of an agent."""
        ...

    def held(self, pack: Pack) -> AbstractContextManager[None]:
        """Keep it where it is until the block ends: nobody removes it meanwhile. NotFoundError when it has gone."""
        ...

    async def remove(self, name: str) -> None:
        """Forget an agent's pack. NotFoundError when there is none; ConflictError while it is held or seen."""
        ...
