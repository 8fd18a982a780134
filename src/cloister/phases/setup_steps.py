"""Tells of the steps of automatic setup while their script runs, by what it notes down itself."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import anyio

from cloister.errors import CloisterError
from cloister.journal import Journal
from cloister.model.event import SetupStepFinished, SetupStepStarted
from cloister.model.setup_plan import Section
from cloister.model.setup_progress import LARGEST_NOTES_BYTES, SectionEnd, notes_file, read_notes
from cloister.protocols import Sandbox

T = TypeVar("T")


@dataclass(slots=True, kw_only=True)
class StepTeller:
    """Of one script. What a former worker has told is not told again."""

    script: str
    """Id of its command."""
    sections: Sequence[Section]
    sandbox: Sandbox
    journal: Journal
    begun: int = 0
    """So many steps were told to have begun."""
    ended: int = 0
    _notes: bytes = field(default=b"", init=False)

    async def go_on(self) -> None:
        """Find out what a former worker has told."""
        own = [event for event in await self.journal.told() if getattr(event, "command", None) == self.script]
        self.begun = sum(isinstance(event, SetupStepStarted) for event in own)
        self.ended = sum(isinstance(event, SetupStepFinished) for event in own)

    async def tell_beside(self, follow: Callable[[], Awaitable[T]]) -> T:
        """Tell of steps while something follows the script; return what that does, or raise its CloisterError."""
        failure: CloisterError | None = None
        over = anyio.Event()
        async with anyio.create_task_group() as group:
            group.start_soon(self._tell_live, over)
            try:
                followed = await follow()
            except CloisterError as error:  # raised below, because the group would wrap it
                failure = error
            over.set()
        if failure is not None:
            raise failure
        return followed

    async def tell_rest(self, *, ok: bool) -> Sequence[SectionEnd]:
        """Tell how the script's last steps ended, and return how all did; `ok` says whether it succeeded."""
        notes = await self.sandbox.read_file(notes_file(self.script), limit_bytes=LARGEST_NOTES_BYTES)
        ends = read_notes(notes or b"", self.sections, ok=ok)
        for end in ends[self.ended :]:
            self._tell_end(end)
        return ends

    async def _tell_live(self, over: anyio.Event) -> None:
        async for data in self.sandbox.tail(notes_file(self.script), over, limit_bytes=LARGEST_NOTES_BYTES):
            self._notes += data
            whole = self._notes[: self._notes.rfind(b"\n") + 1]
            ends = read_notes(whole, self.sections, ok=False)
            for number, end in enumerate(ends, start=1):
                if number > self.begun:
                    self.begun = number
                    self.journal.record(SetupStepStarted(command=self.script, **_facts(end.section)))
                if self.ended < number < len(ends):  # the last one runs, or how it ended is told behind all output
                    self._tell_end(end)

    def _tell_end(self, end: SectionEnd) -> None:
        self.ended += 1
        facts = _facts(end.section)
        self.journal.record(SetupStepFinished(command=self.script, seconds=end.seconds, ok=end.ok, **facts))


def _facts(section: Section) -> dict[str, str]:
    return {"tool": section.tool, "folder": section.folder, "reason": section.reason}
