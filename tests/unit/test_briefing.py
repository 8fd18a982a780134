"""What an agent is told of where it works."""

from dataclasses import replace

from cloister.briefing import brief
from cloister.model.ceiling import UNBOUNDED, Ceiling
from cloister.model.environment import Check, Environment, Limits, NetworkRecipe, Service
from cloister.model.network import NetworkMode

LIMITED = NetworkRecipe(agent=NetworkMode.LIMITED, allow=("example.com",), methods=("GET",), deny=("bad.example.com",))


def test_the_network_is_told_as_it_is(new_task) -> None:
    off = brief(new_task(), UNBOUNDED, [])
    assert "network is off" in off
    assert "nothing more can be downloaded" in off
    limited = brief(new_task(environment=Environment(name="web", network=LIMITED)), UNBOUNDED, [])
    assert "these hosts and what is below them: example.com." in limited
    assert "Of HTTP it lets GET through" in limited
    assert "never reaches bad.example.com" in limited
    assert "is off" not in limited.replace("fresh copy and the network is off", "")
    full = brief(
        new_task(environment=Environment(name="web", network=NetworkRecipe(agent=NetworkMode.FULL))), UNBOUNDED, []
    )
    assert "The network is on" in full


def test_the_operator_s_ceiling_is_told(new_task) -> None:
    wanted = Environment(name="web", network=NetworkRecipe(agent=NetworkMode.FULL))
    assert "network is off" in brief(new_task(environment=wanted), Ceiling(agent=NetworkMode.OFF), [])
    told = brief(new_task(environment=wanted), Ceiling(agent=NetworkMode.LIMITED), [])
    assert "no host at all" in told
    assert "The operator's" not in told or "gives limited at most" in told


def test_checks_services_and_placeholders_are_named(new_task) -> None:
    environment = Environment(
        name="web",
        checks=(Check(name="test", command="pytest\n -q"),),
        services=(Service(name="db", command="redis-server"),),
        limits=Limits(time_seconds=90.0),
    )
    told = brief(new_task(environment=environment), UNBOUNDED, ["TOKEN", "API_KEY"])
    assert "- test: `pytest -q`" in told
    assert "beside you: db" in told
    assert "API_KEY, TOKEN hold placeholders" in told
    assert "1.5 minutes" in told
    asked = brief(replace(new_task(environment=environment), ask=True), UNBOUNDED, [])
    assert "pytest" not in asked, "where nothing is changed, nothing is checked"
