import tomllib
from dataclasses import replace

import pytest

from cloister.allowlist import builtin_presets
from cloister.environment_file import read_environment
from cloister.model.environment import NetworkRecipe
from cloister.model.event import EgressRefused
from cloister.model.network import Audit, NetworkMode
from cloister.model.phase import Phase
from cloister.proposal import Proposal, proposal_to_toml, propose


def refusal(host: str, port: int = 443, method: str = "CONNECT", **more: str) -> EgressRefused:
    fields = {"rule": f"no {host}", "hint": "set something", **more}
    return EgressRefused(host=host, port=port, method=method, **fields)  # type: ignore[arg-type]


def agent(*refusals: EgressRefused, network: NetworkRecipe | None = None) -> Proposal:
    return propose(network or LIMITED, [(Phase.AGENT, refused) for refused in refusals])


LIMITED = NetworkRecipe(agent=NetworkMode.LIMITED, allow=("example.com",))


def test_a_mode_that_is_off_becomes_limited_and_never_full() -> None:
    network = agent(refusal("example.com"), network=NetworkRecipe()).network
    assert (network.agent, network.allow) == (NetworkMode.LIMITED, ("example.com",))
    assert network.setup is NetworkRecipe().setup


def test_hosts_are_exact_and_those_below_another_are_left_out() -> None:
    proposal = agent(refusal("a.b.example.org"), refusal("b.example.org"), refusal("c.example.org"))
    assert proposal.network.allow == ("example.com", "b.example.org", "c.example.org")
    assert proposal.added["b.example.org"] == ("a.b.example.org, agent: CONNECT port 443", "agent: CONNECT port 443")


def test_who_asked_is_said_in_whichever_order_they_came() -> None:
    asked = agent(refusal("b.example.org"), refusal("a.b.example.org")).added["b.example.org"]
    assert asked == ("agent: CONNECT port 443", "a.b.example.org, agent: CONNECT port 443")


def test_ports_and_methods_are_added_where_they_are_limited() -> None:
    limited = NetworkRecipe(agent=NetworkMode.LIMITED, allow=("example.com",), methods=("GET",))
    network = agent(refusal("example.com", 8080, "POST"), network=limited).network
    assert (network.ports, network.methods, network.allow) == ((80, 443, 8080), ("GET", "POST"), ("example.com",))


def test_full_needs_no_list() -> None:
    network = agent(refusal("other.org", 8080), network=NetworkRecipe(agent=NetworkMode.FULL)).network
    assert (network.agent, network.allow, network.ports) == (NetworkMode.FULL, (), (80, 443, 8080))


@pytest.mark.parametrize("host", ["10.0.0.1", "::1", "github.io", "co.uk", "com", "localhost", "", "a\nb.com"])
def test_what_cannot_be_listed_is_never_proposed(host: str) -> None:
    proposal = agent(refusal(host))
    assert (proposal.network, len(proposal.impossible)) == (LIMITED, 1)


def test_what_the_policy_allows_was_refused_for_another_reason() -> None:
    proposal = agent(refusal("example.com"), refusal("example.com"))
    assert proposal.network == LIMITED
    assert proposal.impossible == ("example.com (agent): no example.com",)


def test_where_a_secret_was_to_be_leaked_to_is_never_proposed() -> None:
    proposal = agent(refusal("evil.example.net", rule="an attempt to leak the secret GH_PAT", hint=""))
    assert proposal.network == LIMITED
    assert "attempt to leak" in proposal.impossible[0]


def test_a_denied_host_is_never_proposed_and_stays_denied() -> None:
    before = replace(LIMITED, deny=("uploads.other.org",), audit=Audit.FULL)
    proposal = agent(refusal("eu.uploads.other.org"), refusal("other.org"), network=before)
    assert proposal.network.allow == ("example.com", "other.org")
    assert proposal.impossible == ("eu.uploads.other.org (agent): network.deny holds uploads.other.org",)
    read = tomllib.loads(proposal_to_toml(before, proposal, {}))["network"]
    assert (read["deny"], read["audit"]) == (["uploads.other.org"], "full")


def test_phases_without_a_setting_and_trace_are_impossible() -> None:
    proposal = propose(
        LIMITED, [(Phase.OUTPUT, refusal("other.org")), (Phase.AGENT, refusal("other.org", 80, "TRACE"))]
    )
    assert (proposal.network, len(proposal.impossible)) == (LIMITED, 2)


def test_the_text_is_an_environment_file_that_says_the_same() -> None:
    before = NetworkRecipe(agent=NetworkMode.LIMITED, allow=builtin_presets()["common-dependencies"])
    hostile = refusal("api.other.org", command='x\n"] agent="full" #')
    proposal = agent(hostile, refusal("cdn.other.org", 8080), network=before)
    text = proposal_to_toml(before, proposal, builtin_presets())
    read = read_environment(text.encode(), source="proposal", default_name="web").network
    assert (read.agent, read.ports, set(read.allow)) == (
        NetworkMode.LIMITED,
        (80, 443, 8080),
        {*before.allow, "api.other.org", "cdn.other.org"},
    )
    assert tomllib.loads(text)["network"]["allow"][0] == "preset:common-dependencies"
    assert text.count("# other.org") == 1


def test_nothing_to_propose_is_said() -> None:
    assert proposal_to_toml(LIMITED, agent(), {}) == "# nothing to propose: no request was refused\n"
