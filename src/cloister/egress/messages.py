"""What the worker and the egress process say to each other, as JSON values."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from ipaddress import ip_address, ip_network
from itertools import islice
from typing import Any

from cloister.egress.addresses import Network
from cloister.egress.authority import Authority
from cloister.model.asker import Asker, Connection
from cloister.model.ceiling import UNBOUNDED, Ceiling
from cloister.model.network import Audit, Decision, EgressEnd, EgressRecord, NetworkMode, NetworkPolicy
from cloister.model.phase import Phase
from cloister.model.secret import Grant, SecretValue
from cloister.protocols import Listeners

_PORTS = 2**16


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressSettings:
    """What the operator of a node sets, for every sandbox alike."""

    allow_private: tuple[Network, ...] = ()
    """Private ranges that may be dialled."""
    registries: tuple[str, ...] = ()
    """Hosts, as `parse_host` returns them, that may have private addresses. They stand for no sub-domains."""
    authorities: str = ""
    """PEM certificates that may vouch for upstreams, beside those that the host trusts."""
    ceiling: Ceiling = UNBOUNDED
    """What no environment can exceed."""
    authority: Authority | None = None
    """Vouches to sandboxes for us where HTTPS is read; without it, nothing that needs that is let out."""
    connections: int = 512
    """Open connections of one sandbox, half-open ones included; more wait in the kernel's queue."""
    lookups: int = 4
    """Names that are looked up at once for one sandbox."""
    decisions_at_once: int = 2000
    """Decisions of one sandbox without a pause; each is an event that is kept."""
    decisions_per_second: float = 50.0
    """And those that follow; the sandbox waits."""
    request_seconds: float = 30.0
    """For a request's head, and for a tunnel's first bytes, to arrive."""
    idle_seconds: float = 60.0
    """A connection may be silent between two requests."""
    dial_seconds: float = 15.0
    """For an upstream to be found and to answer the connection."""
    response_seconds: float = 300.0
    """An upstream may be silent within one plain HTTP exchange."""


@dataclass(frozen=True, slots=True)
class Question:
    """Asks who holds the sandbox's end of a connection."""

    sandbox: str
    number: int
    """Of the connection, among all of one egress process."""
    connection: Connection


def settings_to_json(settings: EgressSettings) -> dict[str, object]:
    """Return the settings as JSON values, the authority's key in the clear: for the control socket alone."""
    return {**asdict(settings), "allow_private": [str(network) for network in settings.allow_private]}


def json_to_settings(values: Mapping[str, Any]) -> EgressSettings:
    """Return what `settings_to_json` wrote."""
    allow_private = tuple(ip_network(text) for text in values["allow_private"])
    authority = Authority(**values["authority"]) if values["authority"] else None
    return EgressSettings(
        **{
            **values,
            "allow_private": allow_private,
            "registries": tuple(values["registries"]),
            "authority": authority,
            "ceiling": _json_to_ceiling(values["ceiling"]),
        }
    )


def _json_to_ceiling(values: Mapping[str, Any]) -> Ceiling:
    allow, methods, ports = (None if it is None else tuple(it) for it in map(values.get, ("allow", "methods", "ports")))
    return Ceiling(
        setup=NetworkMode(values["setup"]),
        agent=NetworkMode(values["agent"]),
        allow=allow,
        deny=tuple(values["deny"]),
        methods=methods,
        ports=ports,
    )


def policy_to_json(policy: NetworkPolicy) -> dict[str, object]:
    """Return the policy as JSON values."""
    return asdict(policy)


def json_to_policy(values: Mapping[str, Any]) -> NetworkPolicy:
    """Return what `policy_to_json` wrote."""
    methods = values["methods"]
    return NetworkPolicy(
        mode=NetworkMode(values["mode"]),
        phase=Phase(values["phase"]),
        environment=values["environment"],
        allow=tuple(values["allow"]),
        methods=None if methods is None else tuple(methods),
        ports=tuple(values["ports"]),
        deny=tuple(values["deny"]),
        audit=Audit(values["audit"]),
    )


def grant_to_json(grant: Grant) -> dict[str, object]:
    """Return the grant as JSON values, its secret in the clear: for the control socket alone."""
    shown = {field.name: getattr(grant, field.name) for field in fields(grant)}
    return {**shown, "value": grant.value.reveal()}


def json_to_grant(values: Mapping[str, Any]) -> Grant:
    """Return what `grant_to_json` wrote."""
    methods = values["methods"]
    return Grant(
        **{
            **values,
            "value": SecretValue(values["value"]),
            "hosts": tuple(values["hosts"]),
            "methods": None if methods is None else tuple(methods),
            "paths": tuple(values["paths"]),
        }
    )


def listeners_to_json(listeners: Listeners) -> dict[str, object]:
    """Return how many of `listeners.descriptors()` are for what, in their order."""
    doors = [[port, len(descriptors)] for port, descriptors in listeners.doors.items()]
    return {
        "proxy": len(listeners.proxy),
        "transparent": len(listeners.transparent),
        "names": len(listeners.names),
        "doors": doors,
    }


def json_to_listeners(values: Mapping[str, Any], descriptors: Sequence[int]) -> Listeners:
    """Return the listeners that these received descriptors are, by what `listeners_to_json` wrote."""
    rest = iter(descriptors)

    def take(count: int) -> tuple[int, ...]:
        return tuple(islice(rest, count))

    return Listeners(
        proxy=take(values["proxy"]),
        transparent=take(values["transparent"]),
        names=take(values["names"]),
        doors={port: take(count) for port, count in values["doors"]},
    )


def _fields(value: EgressRecord | Decision) -> dict[str, object]:
    """Like `asdict`, which copies deeply: that took longer than to decide."""
    return {field.name: getattr(value, field.name) for field in fields(value)}


def record_to_json(record: EgressRecord) -> dict[str, object]:
    """Return the record as JSON values."""
    return {**_fields(record), "decision": _fields(record.decision)}


def json_to_record(values: Mapping[str, Any]) -> EgressRecord:
    """Return what `record_to_json` wrote; KeyError, TypeError or ValueError when it is something else."""
    decision = values["decision"]
    return EgressRecord(
        sandbox=str(values["sandbox"]),
        phase=Phase(values["phase"]),
        host=str(values["host"]),
        port=int(values["port"]),
        method=str(values["method"]),
        decision=Decision(allowed=decision["allowed"] is True, rule=str(decision["rule"]), hint=str(decision["hint"])),
        command=None if values["command"] is None else str(values["command"]),
        flow=int(values["flow"]),
        path=str(values["path"]),
    )


def end_to_json(end: EgressEnd) -> dict[str, object]:
    """Return the end of a flow as JSON values."""
    return asdict(end)


def json_to_end(values: Mapping[str, Any]) -> EgressEnd:
    """Return what `end_to_json` wrote; KeyError, TypeError or ValueError when it is something else."""
    return EgressEnd(
        sandbox=str(values["sandbox"]),
        phase=Phase(values["phase"]),
        flow=int(values["flow"]),
        sent_bytes=int(values["sent_bytes"]),
        received_bytes=int(values["received_bytes"]),
        seconds=float(values["seconds"]),
    )


def question_to_json(question: Question) -> dict[str, object]:
    """Return the question as JSON values."""
    return asdict(question)


def json_to_question(values: Mapping[str, Any]) -> Question:
    """Return what `question_to_json` wrote; KeyError, TypeError or ValueError when it is something else."""
    connection = Connection(**values["connection"])
    if ip_address(connection.source).version != ip_address(connection.target).version:
        raise ValueError("a connection is of one family")
    if not all(0 < port < _PORTS for port in (connection.source_port, connection.target_port)):
        raise ValueError("a port is a number of 16 bits")
    return Question(str(values["sandbox"]), int(values["number"]), connection)


def asker_to_json(asker: Asker | None) -> dict[str, object] | None:
    """Return the asker as JSON values."""
    return asdict(asker) if asker is not None else None


def json_to_asker(values: Mapping[str, Any] | None) -> Asker | None:
    """Return what `asker_to_json` wrote."""
    return Asker(**values) if values is not None else None
