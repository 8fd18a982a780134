"""The least change of an environment's network that would have let a task's refused requests pass."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

from publicsuffixlist import PublicSuffixList

from cloister.model.environment import NetworkRecipe
from cloister.model.event import EgressRefused
from cloister.model.network import Audit, NetworkMode, host_matches, parse_domain
from cloister.model.phase import Phase

_CONNECT = "CONNECT"
_PRESET = "preset:"


@dataclass(frozen=True, slots=True)
class Proposal:
    """What to write into the environment file, and what no setting of it would let pass."""

    network: NetworkRecipe
    """The whole table: what is allowed already, and what is missing."""
    added: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By host that is missing in `allow`: who asked for it, as `setup: GET port 80, curl`."""
    impossible: tuple[str, ...] = ()
    """Sentences about the rest, once each."""


def propose(network: NetworkRecipe, refusals: Iterable[tuple[Phase | None, EgressRefused]]) -> Proposal:
    """Return the least proposal: exact hosts, never a whole domain because of one of its hosts.

    Judges by the policy's own keys and not by the words of a rule: what they allow by now was refused for another
    reason (an address, a server name, a secret), which no list can change.
    """
    suffixes = PublicSuffixList()
    proposed, added, impossible = network, dict[str, tuple[str, ...]](), dict[str, None]()
    for phase, refusal in refusals:
        reason = _why_never(network, phase, refusal, suffixes)
        if reason is not None:
            impossible[f"{refusal.host or 'a request'} ({phase}): {reason}"] = None
            continue
        proposed = _widen(proposed, phase, refusal)
        if host_matches(refusal.host, network.allow) is None and host_matches(refusal.host, proposed.allow):
            asked = f"{phase}: {refusal.method} port {refusal.port}{_by(refusal)}"
            added[refusal.host] = tuple(dict.fromkeys((*added.get(refusal.host, ()), asked)))
    least = tuple(host for host in proposed.allow if host not in added or not _has_parent(host, proposed.allow))
    return Proposal(replace(proposed, allow=least), _by_listed(added, least), tuple(impossible))


def proposal_to_toml(before: NetworkRecipe, proposal: Proposal, presets: Mapping[str, tuple[str, ...]]) -> str:
    """Return the `[network]` table for the environment file, with who asked as comments.

    Entries that make up a whole one of `presets` are written by its name.
    """
    after = proposal.network
    lines = []
    if after != before:
        lines = ["[network]", f'setup = "{after.setup}"', f'agent = "{after.agent}"']
        lines += _allow_lines(before, proposal, presets)
        if after.methods is not None:
            lines.append(f"methods = {json.dumps(list(after.methods))}")
        lines.append(f"ports = {json.dumps(list(after.ports))}")
        if after.deny:
            lines.append(f"deny = {json.dumps(list(after.deny))}")
        if after.audit is not Audit.DECISIONS:
            lines.append(f'audit = "{after.audit}"')
    lines += [f"# not proposed: {_comment(text)}" for text in proposal.impossible]
    return "\n".join(lines or ["# nothing to propose: no request was refused"]) + "\n"


def _mode(network: NetworkRecipe, phase: Phase | None) -> NetworkMode | None:
    return {Phase.SETUP: network.setup, Phase.AGENT: network.agent}.get(phase) if phase else None


def _why_never(
    network: NetworkRecipe, phase: Phase | None, refusal: EgressRefused, suffixes: PublicSuffixList
) -> str | None:
    mode = _mode(network, phase)
    if mode is None or refusal.method == "TRACE" or not refusal.hint:  # without one: a leak, a strange server name
        return refusal.rule
    try:
        parse_domain(refusal.host)
    except ValueError:
        return f"lists hold names of hosts alone ({refusal.rule})"
    if (denied := host_matches(refusal.host, network.deny)) is not None:
        return f"network.deny holds {denied}"
    if suffixes.is_public(refusal.host):
        return "anyone can have a name below it, so it is never allowed as a whole"
    if _widen(network, phase, refusal) == network:
        return refusal.rule
    return None


def _widen(network: NetworkRecipe, phase: Phase | None, refusal: EgressRefused) -> NetworkRecipe:
    """Return what also lets this request pass, as far as mode, host, port and method are concerned."""
    if _mode(network, phase) is NetworkMode.OFF:
        opened = NetworkMode.LIMITED
        network = replace(network, setup=opened) if phase is Phase.SETUP else replace(network, agent=opened)
    if _mode(network, phase) is NetworkMode.LIMITED and host_matches(refusal.host, network.allow) is None:
        network = replace(network, allow=(*network.allow, refusal.host))
    if refusal.port not in network.ports:
        network = replace(network, ports=(*network.ports, refusal.port))
    if network.methods is not None and refusal.method not in (*network.methods, _CONNECT):
        network = replace(network, methods=(*network.methods, refusal.method))
    return network


def _by_listed(added: Mapping[str, tuple[str, ...]], allow: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Say of each host in the list who asked for it, or for one below it that the list leaves out."""
    asked = dict[str, tuple[str, ...]]()
    for host, by in added.items():
        listed = host_matches(host, allow) or host
        below = by if listed == host else tuple(f"{host}, {asker}" for asker in by)
        asked[listed] = (*asked.get(listed, ()), *below)
    return asked


def _has_parent(host: str, allow: Sequence[str]) -> bool:
    return host_matches(host, [other for other in allow if other != host]) is not None


def _by(refusal: EgressRefused) -> str:
    return f", {refusal.command}" if refusal.command else ""


def _allow_lines(before: NetworkRecipe, proposal: Proposal, presets: Mapping[str, tuple[str, ...]]) -> list[str]:
    kept, rest = list[str](), list(before.allow)
    for name, domains in presets.items():
        if domains and set(domains) <= set(rest):
            kept.append(_PRESET + name)
            rest = [domain for domain in rest if domain not in domains]
    lines = ["allow = [", *(f"    {json.dumps(entry)}," for entry in (*kept, *rest))]
    suffixes = PublicSuffixList()

    def registrable(host: str) -> str:
        return suffixes.privatesuffix(host) or host

    new = sorted(
        (host for host in proposal.network.allow if host not in before.allow), key=lambda h: (registrable(h), h)
    )
    for domain, hosts in groupby(new, key=registrable):
        lines.append(f"    # {domain}")
        for host in hosts:
            lines += [f"    #   {_comment(asked)}" for asked in proposal.added[host]]
            lines.append(f"    {json.dumps(host)},")
    return [*lines, "]"]


def _comment(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)
