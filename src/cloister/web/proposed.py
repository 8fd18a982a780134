"""What would let an attempt's refused requests pass."""

from collections.abc import Iterable

from cloister.allowlist import builtin_presets
from cloister.model.event import EgressRefused, RecordedEvent
from cloister.proposal import proposal_to_toml, propose
from cloister.web.chosen import Chosen


def network_proposal(chosen: Chosen, events: Iterable[RecordedEvent]) -> str:
    """Return the `[network]` table to put into the environment file; empty when nothing was refused."""
    own = chosen.own(list(events))
    refusals = [(it.phase, it.event) for it in own if isinstance(it.event, EgressRefused)]
    recipe = chosen.status.task.environment.network
    return proposal_to_toml(recipe, propose(recipe, refusals), builtin_presets()) if refusals else ""
