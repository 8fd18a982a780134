"""What would let an attempt's refused requests pass, and how it gets into an environment."""

import re
from collections.abc import Iterable

from cloister.allowlist import builtin_presets
from cloister.errors import UsageError
from cloister.intake import Intake
from cloister.model.environment_source import SourceKind
from cloister.model.event import EgressRefused, RecordedEvent
from cloister.proposal import proposal_to_toml, propose
from cloister.web.chosen import Chosen, choose_attempt, quiet_events

_NETWORK = re.compile(r"^\[network\][^\n]*\n(?:(?!\[).*\n?)*", re.MULTILINE)


def network_proposal(chosen: Chosen, events: Iterable[RecordedEvent]) -> str:
    """Return the `[network]` table to put into the environment file; empty when nothing was refused."""
    own = chosen.own(list(events))
    refusals = [(it.phase, it.event) for it in own if isinstance(it.event, EgressRefused)]
    recipe = chosen.status.task.environment.network
    return proposal_to_toml(recipe, propose(recipe, refusals), builtin_presets()) if refusals else ""


async def proposal_of(
    intake: Intake, task: str, name: str | None, *, turn: int | None = None, attempt: int | None = None
) -> str:
    """Return the `[network]` table that would let a task's refused requests pass.

    It was run by the stored environment of that name; without one, by the defaults.
    """
    chosen = await choose_attempt(intake, task, turn, attempt)
    source = chosen.status.task.environment_source
    kind = SourceKind.DEFAULTS if source is None else source.kind
    if name is None and kind is not SourceKind.DEFAULTS:
        raise UsageError(f"task {task} was not run by the defaults")
    if name is not None and (chosen.status.task.environment.name != name or kind is not SourceKind.STORED):
        raise UsageError(f"task {task} was not run by the stored environment {name!r}")
    return network_proposal(chosen, await quiet_events(intake, chosen))


def with_network(text: str, table: str) -> str:
    """Put a `[network]` table in the place of the one that is there, or at the end."""
    if not table.startswith("[network]"):
        return text
    if _NETWORK.search(text):
        return _NETWORK.sub(lambda _: f"{table}\n", text, count=1)
    return f"{text.rstrip()}\n\n{table}"
