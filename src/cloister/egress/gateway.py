"""Who may reach what: the policy's answer to one request, in words its reader can act on."""

from dataclasses import replace
from ipaddress import ip_address, ip_network

from cloister.egress.addresses import Address, classify, is_address
from cloister.model.asker import Asker
from cloister.model.ceiling import UNBOUNDED, Ceiling
from cloister.model.network import Decision, NetworkMode, NetworkPolicy, RuleKind, host_matches
from cloister.model.phase import Phase
from cloister.model.secret import Grant

CONNECT = "CONNECT"
HTTP_PORT = 80
HTTPS_PORT = 443

_FILE = "in the environment file"


def decide(policy: NetworkPolicy, host: str, port: int, method: str, ceiling: Ceiling = UNBOUNDED) -> Decision:
    """Return what `policy` says to a request, and what it allows, the operator's `ceiling`.

    `host` is canonical: a name as `parse_host` returns it, or an address. `method` is as the client wrote
    it; methods are case-sensitive (RFC 9110, 9.1). Whether the address behind a name may be dialled is
    another question, see `addresses`.
    """
    decision = _judge_host(policy, host)
    if decision.allowed and port not in policy.ports:
        decision = _refuse(
            RuleKind.PORT, f"port {port} is not in network.ports", f"add {port} to network.ports {_FILE}"
        )
    if decision.allowed:
        decision = _judge_method(policy, method) or decision
    if decision.allowed:
        decision = _judge_by_ceiling(policy, host, port, method, ceiling) or decision
    return decision


def _judge_by_ceiling(policy: NetworkPolicy, host: str, port: int, method: str, ceiling: Ceiling) -> Decision | None:
    """Return the operator's refusal, without a hint: no setting of an environment lifts it."""
    highest = ceiling.highest(policy.phase)
    beyond_list = highest is NetworkMode.LIMITED and host_matches(host, policy.allow) is None
    if highest is NetworkMode.OFF or beyond_list:
        return _refuse(RuleKind.OPERATOR, f"the operator's network_{policy.phase} is {highest}", "")
    if (refused := _judge_by_operators_lists(host, ceiling)) is not None:
        return refused
    if ceiling.ports is not None and port not in ceiling.ports:
        return _refuse(RuleKind.OPERATOR, f"the operator's network_ports does not hold {port}", "")
    if ceiling.methods is not None and method not in (CONNECT, *ceiling.methods):
        return _refuse(RuleKind.OPERATOR, f"the operator's network_methods does not hold {method}", "")
    return None


def judge_door(
    grant: Grant | None, door: int, host: str, policy: NetworkPolicy, ceiling: Ceiling = UNBOUNDED
) -> Decision:
    """Return whether what came in by a door may reach a host: as long as the grant behind it is for that one.

    The policy's mode, list, methods and ports do not bind it; what is denied, and the operator's list, do.
    """
    if grant is None or host_matches(host, grant.hosts) is None:
        return _refuse(RuleKind.DOOR, f"nothing is behind port {door} in this phase", "")
    if grant.model is not None and is_address(host):
        ceiling = replace(ceiling, allow=None)  # it holds names; an address is the operator's own setting
    bound = _judge_denials(policy, host) or _judge_by_operators_lists(host, ceiling)
    return bound or Decision(allowed=True, rule=f"door {door}: {grant.name}", kind=RuleKind.DOOR)


def refuse_address(host: str, address: Address, reason: str) -> Decision:
    """Return the refusal of a host that has an address which is never dialled, for the `reason` of `classify`."""
    rule = f"{host} is not a public address" if host == str(address) else f"{host} has the address {address}"
    setting = f"add a range that holds {address} to allow_private in Cloister's own settings"
    hint = setting if _can_be_opened(str(address)) else ""
    return _refuse(
        RuleKind.ADDRESS,
        f"{rule}, which is never reached: {reason}" if host != str(address) else f"{rule}: {reason}",
        hint,
    )


def refuse_behind_proxy(host: str, reason: str) -> Decision:
    """Return the refusal of a host that the operator's proxy is not asked for, for the `reason` of `hop`."""
    return _refuse(
        RuleKind.OPERATOR,
        f"{host} {reason}",
        f"add {host} to upstream_addresses or no_proxy in Cloister's own settings",
    )


def explain(
    policy: NetworkPolicy, host: str, port: int, method: str, decision: Decision, asker: Asker | None = None
) -> str:
    """Return a refusal in words: what, in which phase and environment, by which rule, what to set, and who asked."""
    advice = f"; to allow it, {decision.hint}" if decision.hint else ""
    shown = f"[{host}]" if ":" in host else host
    asked = f" Asked by `{asker.command}` (pid {asker.pid})." if asker is not None else ""
    return (
        f"Cloister refused {method} {shown}:{port} in the {policy.phase} phase of environment "
        f"{policy.environment!r}: {decision.rule}{advice}.{asked}"
    )


def _judge_by_operators_lists(host: str, ceiling: Ceiling) -> Decision | None:
    if (denied := host_matches(host, ceiling.deny)) is not None:
        return _refuse(RuleKind.OPERATOR, f"the operator's network_deny holds {denied}", "")
    if ceiling.allow is not None and host_matches(host, ceiling.allow) is None:
        return _refuse(RuleKind.OPERATOR, f"the operator's network_allow does not hold {host}", "")
    return None


def _judge_denials(policy: NetworkPolicy, host: str) -> Decision | None:
    denied = host_matches(host, policy.deny)
    return _refuse(RuleKind.DENY, f"deny: {denied}", f'remove "{denied}" from network.deny {_FILE}') if denied else None


def _judge_host(policy: NetworkPolicy, host: str) -> Decision:
    if (denied := _judge_denials(policy, host)) is not None:
        return denied
    match policy.mode:
        case NetworkMode.OFF:
            return _refuse(RuleKind.MODE, f"{policy.phase} internet is off", _hint_to_open(policy.phase, host))
        case NetworkMode.FULL:
            return Decision(allowed=True, rule=f"{policy.phase} internet is full", kind=RuleKind.MODE)
        case NetworkMode.LIMITED:
            return _judge_limited(policy, host)


def _judge_limited(policy: NetworkPolicy, host: str) -> Decision:
    if is_address(host):
        return _refuse(
            RuleKind.ALLOW,
            "limited internet allows names, not addresses",
            f"use a name that is in network.allow{_or_full(policy.phase, host)}",
        )
    domain = host_matches(host, policy.allow)
    if domain is not None:
        return Decision(allowed=True, rule=f"allow: {domain}")
    option = f", or run with --allow {host}" if policy.phase is Phase.AGENT else ""
    return _refuse(RuleKind.ALLOW, f"{host} is not in network.allow", f'add "{host}" to network.allow {_FILE}{option}')


def _judge_method(policy: NetworkPolicy, method: str) -> Decision | None:
    if method == "TRACE":
        return _refuse(RuleKind.METHOD, "TRACE shows a request's headers to its sender, so it is never carried", "")
    if policy.methods is None:
        return None
    if method == CONNECT or method in policy.methods:
        return None  # requests inside a tunnel are read and judged one by one
    return _refuse(RuleKind.METHOD, f"{method} is not in network.methods", f'add "{method}" to network.methods {_FILE}')


def _hint_to_open(phase: Phase, host: str) -> str:
    if phase not in (Phase.SETUP, Phase.AGENT):
        return ""
    if is_address(host):
        return f'set network.{phase} = "full" {_FILE}' if _can_be_opened(host) else ""
    option = f", or run with --internet limited --allow {host}" if phase is Phase.AGENT else ""
    return f'set network.{phase} = "limited" and add "{host}" to network.allow {_FILE}{option}'


def _or_full(phase: Phase, address: str) -> str:
    return f', or set network.{phase} = "full" {_FILE}' if _can_be_opened(address) else ""


def _can_be_opened(address: str) -> bool:
    """Whether some policy, and some setting of the operator, let it be reached."""
    return classify(ip_address(address), [ip_network(address)]) is None


def _refuse(kind: RuleKind, rule: str, hint: str) -> Decision:
    return Decision(allowed=False, rule=rule, hint=hint, kind=kind)
