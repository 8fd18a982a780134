from ipaddress import ip_address

import pytest

from cloister.egress.addresses import classify
from cloister.egress.gateway import decide, explain, judge_door, refuse_address
from cloister.model.ceiling import Ceiling
from cloister.model.network import Decision, NetworkMode, NetworkPolicy, RuleKind
from cloister.model.phase import Phase
from cloister.model.secret import Grant, SecretValue


def policy(mode: NetworkMode, phase: Phase = Phase.AGENT, **more: object) -> NetworkPolicy:
    return NetworkPolicy(mode=mode, phase=phase, environment="web", **more)  # type: ignore[arg-type]


def limited(*allow: str, **more: object) -> NetworkPolicy:
    return policy(NetworkMode.LIMITED, allow=allow, **more)


@pytest.mark.parametrize(
    ("refused_by", "host", "port", "method", "rule", "hint"),
    [
        (
            policy(NetworkMode.OFF),
            *("example.com", 443, "CONNECT"),
            "agent internet is off",
            'set network.agent = "limited" and add "example.com" to network.allow in the environment file, '
            "or run with --internet limited --allow example.com",
        ),
        (
            policy(NetworkMode.OFF, Phase.SETUP),
            *("example.com", 443, "CONNECT"),
            "setup internet is off",
            'set network.setup = "limited" and add "example.com" to network.allow in the environment file',
        ),
        (policy(NetworkMode.OFF, Phase.OUTPUT), "example.com", 443, "CONNECT", "output internet is off", ""),
        (
            policy(NetworkMode.OFF),
            *("1.1.1.1", 443, "CONNECT"),
            "agent internet is off",
            'set network.agent = "full" in the environment file',
        ),
        (policy(NetworkMode.OFF), "169.254.169.254", 80, "GET", "agent internet is off", ""),
        (
            limited("example.com"),
            *("169.254.169.254", 80, "GET"),
            "limited internet allows names, not addresses",
            "use a name that is in network.allow",
        ),
        (
            limited("example.org"),
            *("example.com", 443, "CONNECT"),
            "example.com is not in network.allow",
            'add "example.com" to network.allow in the environment file, or run with --allow example.com',
        ),
        (
            limited("example.com"),
            *("1.1.1.1", 80, "GET"),
            "limited internet allows names, not addresses",
            'use a name that is in network.allow, or set network.agent = "full" in the environment file',
        ),
        (
            limited("example.com", deny=("uploads.example.com",)),
            *("eu.uploads.example.com", 443, "CONNECT"),
            "deny: uploads.example.com",
            'remove "uploads.example.com" from network.deny in the environment file',
        ),
        (
            policy(NetworkMode.FULL, deny=("example.com",)),
            *("example.com", 80, "GET"),
            "deny: example.com",
            'remove "example.com" from network.deny in the environment file',
        ),
        (
            limited("example.com"),
            *("example.com", 22, "CONNECT"),
            "port 22 is not in network.ports",
            "add 22 to network.ports in the environment file",
        ),
        (
            limited("example.com", methods=("GET",)),
            *("example.com", 80, "POST"),
            "POST is not in network.methods",
            'add "POST" to network.methods in the environment file',
        ),
        (
            policy(NetworkMode.FULL),
            *("example.com", 80, "TRACE"),
            "TRACE shows a request's headers to its sender, so it is never carried",
            "",
        ),
    ],
)
def test_a_refusal_names_its_rule_and_its_setting(
    refused_by: NetworkPolicy, host: str, port: int, method: str, rule: str, hint: str
) -> None:
    decision = decide(refused_by, host, port, method)
    assert (decision.allowed, decision.rule, decision.hint) == (False, rule, hint)


@pytest.mark.parametrize(
    ("allowed_by", "host", "port", "method", "rule"),
    [
        (limited("example.com"), "example.com", 443, "CONNECT", "allow: example.com"),
        (limited("example.com"), "a.b.example.com", 80, "POST", "allow: example.com"),
        (limited("example.com", methods=("GET",)), "example.com", 80, "CONNECT", "allow: example.com"),
        (limited("example.com", ports=(22,)), "example.com", 22, "CONNECT", "allow: example.com"),
        (policy(NetworkMode.FULL), "anything.at.all", 443, "CONNECT", "agent internet is full"),
        (policy(NetworkMode.FULL), "1.1.1.1", 443, "CONNECT", "agent internet is full"),
    ],
)
def test_what_is_allowed_names_its_rule(
    allowed_by: NetworkPolicy, host: str, port: int, method: str, rule: str
) -> None:
    decision = decide(allowed_by, host, port, method)
    assert (decision.allowed, decision.rule) == (True, rule)


def test_an_address_that_a_setting_can_open_says_so() -> None:
    private, metadata = ip_address("10.0.0.1"), ip_address("169.254.169.254")
    assert "allow_private" in refuse_address("example.com", private, classify(private) or "").hint
    assert refuse_address("example.com", metadata, classify(metadata) or "").hint == ""


def test_the_sentence_has_all_that_its_reader_needs() -> None:
    asked = policy(NetworkMode.OFF)
    assert explain(asked, "2606:4700::1", 443, "CONNECT", decide(asked, "2606:4700::1", 443, "CONNECT")) == (
        "Cloister refused CONNECT [2606:4700::1]:443 in the agent phase of environment 'web': agent internet is off; "
        'to allow it, set network.agent = "full" in the environment file.'
    )


BOUNDS = [
    (policy(NetworkMode.FULL), Ceiling(agent=NetworkMode.OFF), "network_agent is off"),
    (policy(NetworkMode.FULL), Ceiling(agent=NetworkMode.LIMITED), "network_agent is limited"),
    (policy(NetworkMode.FULL), Ceiling(allow=("example.org",)), "network_allow does not hold www.example.com"),
    (limited("example.com"), Ceiling(allow=()), "network_allow does not hold www.example.com"),
    (limited("example.com"), Ceiling(deny=("example.com",)), "network_deny holds example.com"),
    (limited("example.com"), Ceiling(ports=(443,)), "network_ports does not hold 80"),
    (limited("example.com"), Ceiling(methods=("HEAD",)), "network_methods does not hold GET"),
]


@pytest.mark.parametrize(("asked", "ceiling", "rule"), BOUNDS)
def test_no_policy_exceeds_the_operators_ceiling(asked: NetworkPolicy, ceiling: Ceiling, rule: str) -> None:
    decision = decide(asked, "www.example.com", 80, "GET", ceiling)
    assert (decision.allowed, decision.rule, decision.hint) == (False, f"the operator's {rule}", "")
    assert decide(asked, "www.example.com", 80, "GET").allowed, "without the ceiling it passes"


def test_a_ceiling_allows_nothing_by_itself() -> None:
    ceiling = Ceiling(allow=("example.com",), methods=("GET",), ports=(80,))
    assert not decide(policy(NetworkMode.OFF), "example.com", 80, "GET", ceiling).allowed
    assert not decide(limited("example.org"), "example.com", 80, "GET", ceiling).allowed
    assert decide(limited("example.com"), "www.example.com", 80, "GET", ceiling).allowed


def test_the_ceiling_of_one_phase_is_not_the_others() -> None:
    ceiling = Ceiling(agent=NetworkMode.OFF)
    assert decide(policy(NetworkMode.FULL, Phase.SETUP), "example.com", 80, "GET", ceiling).allowed


MODEL = Grant(name="MODEL", value=SecretValue("s3cret"), placeholder="p", hosts=("example.com",), door=8001)


def test_a_door_needs_no_policy_that_allows() -> None:
    assert judge_door(MODEL, 8001, "example.com", policy(NetworkMode.OFF)).allowed
    assert not judge_door(MODEL, 8001, "example.org", policy(NetworkMode.FULL)).allowed
    assert not judge_door(None, 8001, "example.com", policy(NetworkMode.FULL)).allowed


@pytest.mark.parametrize(
    ("asked", "ceiling", "rule"),
    [
        (policy(NetworkMode.FULL, deny=("example.com",)), Ceiling(), "deny: example.com"),
        (policy(NetworkMode.OFF), Ceiling(deny=("example.com",)), "the operator's network_deny holds example.com"),
        (policy(NetworkMode.OFF), Ceiling(allow=()), "the operator's network_allow does not hold example.com"),
    ],
)
def test_what_is_denied_is_denied_behind_a_door_too(asked: NetworkPolicy, ceiling: Ceiling, rule: str) -> None:
    decision = judge_door(MODEL, 8001, "example.com", asked, ceiling)
    assert (decision.allowed, decision.rule) == (False, rule)


@pytest.mark.parametrize(
    ("decision", "kind"),
    [
        (decide(policy(NetworkMode.FULL), "example.com", 443, "GET"), RuleKind.MODE),
        (decide(policy(NetworkMode.OFF), "example.com", 443, "GET"), RuleKind.MODE),
        (decide(policy(NetworkMode.FULL, deny=("bad.org",)), "bad.org", 443, "GET"), RuleKind.DENY),
        (decide(limited("example.com"), "example.com", 443, "GET"), RuleKind.ALLOW),
        (decide(limited("example.com"), "other.org", 443, "GET"), RuleKind.ALLOW),
        (decide(limited("example.com"), "example.com", 22, "GET"), RuleKind.PORT),
        (decide(limited("example.com", methods=("GET",)), "example.com", 443, "POST"), RuleKind.METHOD),
        (decide(policy(NetworkMode.FULL), "a.com", 443, "GET", Ceiling(deny=("a.com",))), RuleKind.OPERATOR),
        (refuse_address("example.com", ip_address("10.0.0.1"), "private"), RuleKind.ADDRESS),
        (judge_door(None, 8001, "example.com", policy(NetworkMode.FULL)), RuleKind.DOOR),
    ],
)
def test_a_decision_says_of_what_kind_its_rule_is(decision: Decision, kind: RuleKind) -> None:
    assert decision.kind is kind
