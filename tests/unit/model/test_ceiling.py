import pytest

from cloister.model.ceiling import Ceiling, excess_of
from cloister.model.environment import NetworkRecipe
from cloister.model.network import NetworkMode

LIMITED = NetworkRecipe(agent=NetworkMode.LIMITED, allow=("example.com",), methods=("GET",))


@pytest.mark.parametrize(
    ("ceiling", "said"),
    [
        (Ceiling(setup=NetworkMode.LIMITED), "network.setup is full, and the operator's network_setup gives limited"),
        (Ceiling(agent=NetworkMode.OFF), "network.agent is limited, and the operator's network_agent gives off"),
        (Ceiling(methods=("HEAD",)), "network_methods gives HEAD"),
        (Ceiling(ports=(443,)), "network_ports does not give 80"),
        (Ceiling(allow=("example.com",)), "network_allow bounds which hosts"),
    ],
)
def test_what_is_asked_for_beyond_the_ceiling_is_said(ceiling: Ceiling, said: str) -> None:
    [sentence] = excess_of(LIMITED, ceiling)
    assert said in sentence


def test_what_stays_below_is_not() -> None:
    assert list(excess_of(LIMITED, Ceiling())) == []
    assert list(excess_of(LIMITED, Ceiling(agent=NetworkMode.LIMITED, methods=("GET", "HEAD")))) == []
