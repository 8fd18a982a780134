"""Who may be reached: policies, the grammar of hosts, and the rule that decides."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from cloister.model.model_door import ModelCall
from cloister.model.phase import Phase

WEB_PORTS = (80, 443)
REGISTRIES = "preset:package-registries"
"""In an allowlist: the registries of the node that carries the policy out, which alone knows them."""

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_LONGEST_HOST = 253


class NetworkMode(StrEnum):
    """How much of the internet a phase may reach."""

    OFF = "off"
    LIMITED = "limited"
    FULL = "full"


class Audit(StrEnum):
    """How much is told of what a sandbox does on the network."""

    DECISIONS = "decisions"
    """Who was asked for, by which rule, how much was carried."""
    FULL = "full"
    """Every request inside HTTPS too: method and path. The proxy has to open the tunnels for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkPolicy:
    """Who may be reached from one sandbox during one phase. Immutable; a phase border replaces it."""

    mode: NetworkMode
    phase: Phase
    environment: str
    """Name of the environment, for explanations."""
    allow: tuple[str, ...] = ()
    """Limited mode: domains as `parse_domain` returns them; each matches itself and its sub-domains."""
    methods: tuple[str, ...] | None = None
    """HTTP methods in capitals; None is every method."""
    ports: tuple[int, ...] = WEB_PORTS
    deny: tuple[str, ...] = ()
    """Domains as in `allow`, in every mode; they win over it."""
    audit: Audit = Audit.DECISIONS

    @property
    def reads_https(self) -> bool:
        """Whether requests inside HTTPS have to be read to keep this policy."""
        return self.methods is not None or self.audit is Audit.FULL


class RuleKind(StrEnum):
    """What kind of rule a decision is by: of few values, for numbers that are kept for ever."""

    ALLOW = "allow"
    """What the policy's list holds, or does not."""
    DENY = "deny"
    MODE = "mode"
    """Internet that is off, or full."""
    PORT = "port"
    METHOD = "method"
    ADDRESS = "address"
    OPERATOR = "operator"
    """What no environment can exceed, and the way by the operator's proxy."""
    DOOR = "door"
    SECRET = "secret"
    TLS = "tls"
    """A tunnel that does not carry TLS for its own host, or whose client does not trust us."""
    MALFORMED = "malformed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What the policy says to one request, in words a user can act on."""

    allowed: bool
    rule: str
    """The rule that decided, for instance `agent internet is off` or `allow: example.com`."""
    hint: str = ""
    """For a refusal: the setting that would allow it."""
    kind: RuleKind = RuleKind.ALLOW


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressRecord:
    """One decision of the egress process, as it is reported and kept."""

    sandbox: str
    phase: Phase
    host: str
    port: int
    method: str
    decision: Decision
    command: str | None = field(default=None)
    """The command inside the sandbox that asked, where it could be found."""
    flow: int = 0
    """Number of the request or tunnel in its sandbox, from 1; `EgressEnd` has it too."""
    path: str = ""
    """Of the request's target, where it could be read; without its query."""
    of_model: bool = False
    """Whether it was let out by the door of the agent's model, so that the agent waits until it is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressEnd:
    """A request or tunnel that was allowed is over."""

    sandbox: str
    phase: Phase
    """The one whose policy let it out."""
    flow: int
    sent_bytes: int
    """From the sandbox."""
    received_bytes: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressLost:
    """The egress process has died, and with it all that was open: no end of that is told."""

    sandbox: str


EgressTold = EgressRecord | EgressEnd | EgressLost | ModelCall
"""What the egress process tells of a sandbox."""


def parse_host(text: str) -> str:
    """Return a host name in its one canonical form: lower case, no trailing dot.

    The grammar is deliberately narrower than any resolver's: letters, digits and hyphens in labels
    (RFC 1123, IDNA A-labels included). Names whose last label is numeric are refused, because
    resolvers read `127.1` and `0x7f.1` as addresses (WHATWG URL, "ends in a number").

    Raises ValueError with the reason.
    """
    host = text.lower().removesuffix(".")
    if not host or len(host) > _LONGEST_HOST:
        raise ValueError(f"a host name has 1 to {_LONGEST_HOST} characters")
    labels = host.split(".")
    for label in labels:
        if not _LABEL.fullmatch(label):
            raise ValueError(f"{text!r} is not a host name: labels are letters, digits and inner hyphens")
    if re.fullmatch(r"[0-9]+|0x[0-9a-f]*", labels[-1]):
        raise ValueError(f"{text!r} ends in a number, so it could be read as an address")
    return host


def parse_domain(text: str) -> str:
    """Return an entry of an allowlist in its one canonical form: a domain, which stands for its sub-domains too.

    Pure grammar. That a whole registry's suffix (`co.uk`) is too broad is checked where the list is at
    hand, in `cloister.allowlist`.

    Raises ValueError with the reason, which names what to write instead.
    """
    if "*" in text:
        raise ValueError(f"{text!r}: patterns are not domains; a domain stands for its sub-domains, so write it alone")
    if "/" in text or "@" in text:
        raise ValueError(f"{text!r}: write the host name alone, without scheme, user or path")
    if ":" in text:
        raise ValueError(f"{text!r}: write a host name without a port (see network.ports); addresses cannot be listed")
    if not text.isascii():
        raise ValueError(f"{text!r}: write an international name in its ASCII form, which begins with xn--")
    domain = parse_host(text)
    if "." not in domain:
        raise ValueError(f"{text!r} is too broad: a domain has at least two labels, such as example.com")
    return domain


def with_registries(domains: Sequence[str], registries: Sequence[str]) -> tuple[str, ...]:
    """Return an allowlist with these registries in the place of REGISTRIES; the list itself when that is not in it."""
    if REGISTRIES not in domains:
        return tuple(domains)
    return tuple(dict.fromkeys((*(domain for domain in domains if domain != REGISTRIES), *registries)))


def host_matches(host: str, domains: Sequence[str]) -> str | None:
    """Return the domain that covers `host` (itself or a parent), or None. Both sides canonical."""
    for domain in domains:
        if host == domain or host.endswith("." + domain):
            return domain
    return None
