"""What the operator of an installation lets any environment reach at most."""

from collections.abc import Iterator
from dataclasses import dataclass

from cloister.model.environment import NetworkRecipe
from cloister.model.network import NetworkMode
from cloister.model.phase import Phase

_ORDER = (NetworkMode.OFF, NetworkMode.LIMITED, NetworkMode.FULL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceiling:
    """Bounds that no environment can exceed. The default bounds nothing."""

    setup: NetworkMode = NetworkMode.FULL
    """Highest mode of setup. `limited` holds an environment that asks for `full` to its own list."""
    agent: NetworkMode = NetworkMode.FULL
    allow: tuple[str, ...] | None = None
    """Canonical domains that bound limited and full modes alike; None bounds nothing."""
    deny: tuple[str, ...] = ()
    """Canonical domains that are never reached."""
    methods: tuple[str, ...] | None = None
    ports: tuple[int, ...] | None = None

    def highest(self, phase: Phase) -> NetworkMode:
        """The highest mode of a phase; others than setup and agent have no network anyway."""
        return {Phase.SETUP: self.setup, Phase.AGENT: self.agent}.get(phase, NetworkMode.OFF)


UNBOUNDED = Ceiling()
"""The operator bounds nothing."""


def excess_of(network: NetworkRecipe, ceiling: Ceiling) -> Iterator[str]:
    """Yield what a recipe asks for and does not get, one sentence each, naming the operator's setting."""
    for phase, asked in ((Phase.SETUP, network.setup), (Phase.AGENT, network.agent)):
        highest = ceiling.highest(phase)
        if _ORDER.index(asked) > _ORDER.index(highest):
            yield f"network.{phase} is {asked}, and the operator's network_{phase} gives {highest} at most"
    if ceiling.methods is not None and (network.methods is None or not set(network.methods) <= set(ceiling.methods)):
        yield f"the operator's network_methods gives {', '.join(ceiling.methods)} at most"
    if ceiling.ports is not None and (beyond := sorted(set(network.ports) - set(ceiling.ports))):
        yield f"the operator's network_ports does not give {', '.join(map(str, beyond))}"
    if ceiling.allow is not None:
        yield "the operator's network_allow bounds which hosts are reached"
