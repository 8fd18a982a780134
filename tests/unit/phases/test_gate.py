"""How much of what was found is told, and whom it is told to."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import pytest

from cloister.errors import TaskFailedError
from cloister.journal import Journal
from cloister.model.environment import Environment, SetupRecipe
from cloister.model.event import Event, InstructionsRestored, ResidueFound
from cloister.model.instructions import Restored
from cloister.model.residue import Residue
from cloister.model.secret import BrokeredSecret, BrokerRule, DeliveredSecrets, SecretValue
from cloister.phases.gate import refuse_shown_secrets, restore_instructions, search_residue
from cloister.protocols import Sandbox

SECRETS = DeliveredSecrets(values={"TOKEN": SecretValue("function")}, versions={})


@dataclass
class Found:
    """A disk on which much was found, and a journal."""

    paths: Sequence[str]
    events: list[Event] = field(default_factory=list)

    async def find_residue(self, _values: object) -> Sequence[Residue]:
        return [Residue(path=path, names=("TOKEN",)) for path in self.paths]

    async def restore_instructions(self) -> Sequence[Restored]:
        return [Restored(path=path, diff="+x\n" * 100) for path in self.paths]

    def record(self, event: Event) -> None:
        self.events.append(event)

    def mask_text(self, text: str) -> str:
        return text


@pytest.mark.parametrize("count", [3, 100, 30_000])
async def test_of_many_paths_few_are_told_and_the_others_counted(count: int) -> None:
    found = Found([f"/opt/{number:05}" for number in range(count)])
    sandbox, journal = cast(Sandbox, found), cast(Journal, found)
    await restore_instructions(sandbox, journal)
    with pytest.raises(TaskFailedError) as refused:
        await search_residue(Environment(name="web"), sandbox, SECRETS, journal)
    restored, residue = found.events
    assert isinstance(restored, InstructionsRestored)
    assert isinstance(residue, ResidueFound)
    told = min(count, 100)
    assert (len(restored.paths), restored.more) == (told, count - told)
    assert (len(residue.paths), len(residue.details), residue.more) == (told, told, count - told)
    assert len(str(refused.value)) < 1000
    assert ("common word" in (refused.value.hint or "")) == (count > 50)


@pytest.mark.parametrize(
    ("folder", "count", "scrubbed"),
    [("/opt", 49, True), ("/opt", 50, False), ("/root/.cache/pip", 5000, True)],
)
async def test_a_word_that_many_files_hold_is_taken_out_of_none(folder: str, count: int, scrubbed: bool) -> None:
    class Scrubbing(Found):
        async def scrub(self, _values: object, found: Sequence[Residue]) -> Sequence[Residue]:
            self.paths = ()
            return ()

    found = Scrubbing([f"{folder}/{number}" for number in range(count)])
    environment = Environment(name="web", setup=SetupRecipe(residue="scrub"))
    search = search_residue(environment, cast(Sandbox, found), SECRETS, cast(Journal, found))
    if scrubbed:
        await search
    else:
        with pytest.raises(TaskFailedError) as refused:
            await search
        assert "common word" in (refused.value.hint or "")
    assert (found.paths == ()) is scrubbed


async def test_what_is_left_is_told_apart_from_what_was_undone() -> None:
    class Left(Found):
        async def restore_instructions(self) -> Sequence[Restored]:
            return [Restored(path="/root/.bashrc", leads=("CODEX_HOME",)), *await super().restore_instructions()]

    found = Left(["/root/AGENTS.md"])
    await restore_instructions(cast(Sandbox, found), cast(Journal, found))
    (told,) = found.events
    assert isinstance(told, InstructionsRestored)
    assert (told.paths, told.left) == (("/root/AGENTS.md",), ("/root/.bashrc names CODEX_HOME",))


@pytest.mark.parametrize("kind", ["setup", "brokered"])
def test_a_secret_that_a_variable_shows_is_refused(kind: str) -> None:
    value = SecretValue("tk-4711-0815\n")
    rule = BrokerRule(hosts=("a.example",), header="Authorization", format="{}")
    secrets = (
        DeliveredSecrets(values={"TOKEN": value}, versions={})
        if kind == "setup"
        else DeliveredSecrets(values={}, versions={}, brokered=(BrokeredSecret(name="TOKEN", value=value, rule=rule),))
    )
    shown = {"URL": "https://me:tk-4711-0815@a.example", "OTHER": "tk-4711-0816"}
    with pytest.raises(TaskFailedError, match="TOKEN is also in the variable URL"):
        refuse_shown_secrets(Environment(name="web", variables=shown), secrets)
    refuse_shown_secrets(Environment(name="web", variables={"OTHER": shown["OTHER"]}), secrets)
    refuse_shown_secrets(Environment(name="web", variables=shown, setup=SetupRecipe(residue="allow")), secrets)
