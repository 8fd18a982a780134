"""Doors: plain HTTP at a loopback port of a sandbox stands for one upstream, which gets it over TLS with a secret.

No policy has to allow the upstream: the grant does, for what comes through its door, and for nothing else.
"""

import re
from contextlib import closing
from dataclasses import replace
from urllib.parse import urlsplit

import h11

from cloister.egress.brokering import carry
from cloister.egress.front import answer_failures, read_first_head, read_next_head
from cloister.egress.gate import Gate
from cloister.egress.gateway import HTTP_PORT, HTTPS_PORT, judge_door
from cloister.egress.inject import fits, plain_path
from cloister.egress.model_calls import asked_of_provider, carry_call
from cloister.egress.request import Authority, Request, new_server, parse_authority, parse_request
from cloister.egress.route import Route
from cloister.egress.stream import Stream
from cloister.model.broker import is_below
from cloister.model.network import Decision, RuleKind
from cloister.model.secret import Grant

_UPSTREAM = re.compile(r"https?://[^/?#@]+(/[^?#]*)?")


def parse_upstream(address: str, *, plain: bool = False) -> tuple[Authority, str]:
    """Return the authority and the path's prefix of `https://host[:port][/prefix]`. ValueError with the reason.

    With `plain`, of `http://...` in its place.
    """
    scheme = "http" if plain else "https"
    parts = urlsplit(address)
    if not _UPSTREAM.fullmatch(address) or parts.scheme != scheme:
        raise ValueError(f"{address!r} is not {scheme}://host[:port][/prefix]")
    prefix = parts.path.rstrip("/")
    if prefix and plain_path(prefix) != prefix:
        raise ValueError(f"{address!r} has a path that servers could read in different ways")
    return parse_authority(parts.netloc, default_port=HTTP_PORT if plain else HTTPS_PORT), prefix


async def serve_door(port: int, gate: Gate, client: Stream) -> None:
    """Serve one connection to a door to its end. Raises nothing but cancellation; the caller closes `client`."""
    plain = _is_plain(gate.broker.behind(port))
    with closing(Route(gate, secure=not plain, kept_alive=True, trusted=plain)) as route:
        await answer_failures(gate, client, _serve_requests(port, gate, client, route))


async def _serve_requests(port: int, gate: Gate, client: Stream, route: Route) -> None:
    here, *also_named = (Authority(host, port) for host in ("127.0.0.1", "localhost", "::1"))
    head = await read_first_head(client, gate.settings.request_seconds)
    while head is not None:
        near = new_server()
        request = parse_request(near, head, inside=here, also_named=tuple(also_named))
        if not await _serve_exchange(port, gate, client, near, request, route):
            return
        head = await read_next_head(client, gate.settings.idle_seconds)


async def _serve_exchange(
    port: int, gate: Gate, client: Stream, near: h11.Connection, request: Request, route: Route
) -> bool:
    grant = gate.broker.behind(port)
    if grant is None:
        with gate.flow(request.authority, request.method, door=port, target=request.target) as flow:
            await gate.refuse(flow, judge_door(None, port, request.authority.host, gate.policy))
    if _is_plain(grant) is route.secure:
        return False  # another grant is behind the door by now: for the next connection
    below, request = request, _to_upstream(request, grant)
    with gate.flow(request.authority, request.method, door=port, target=request.target) as flow:
        if not _is_for(grant, request):
            await gate.refuse(flow, Decision(allowed=False, rule=_rule(grant), kind=RuleKind.DOOR))
        if grant.model is None:
            return await carry(gate, flow, route, client, near, request)
        path = plain_path(below.target) or ""
        if not grant.model.is_for(request.method, path):
            await gate.refuse(flow, Decision(allowed=False, rule=_rule_of_model(grant), kind=RuleKind.DOOR))
        request = asked_of_provider(request, grant.model)
        if not grant.model.is_call(request.method, path):
            return await carry(gate, flow, route, client, near, request)
        return await carry_call(gate, flow, route, client, near, request, grant)


def _is_plain(grant: Grant | None) -> bool:
    return grant is not None and grant.model is not None and grant.model.plain


def _to_upstream(request: Request, grant: Grant) -> Request:
    assert grant.upstream is not None, "a door leads somewhere"
    authority, prefix = parse_upstream(grant.upstream, plain=_is_plain(grant))
    return replace(request, authority=authority, target=prefix + request.target)


def _is_for(grant: Grant, request: Request) -> bool:
    """Whether the request stays within what the grant is for; a path must not climb out of the upstream's."""
    assert grant.upstream is not None, "a door leads somewhere"
    _, prefix = parse_upstream(grant.upstream, plain=_is_plain(grant))
    path = plain_path(request.target)
    below = not prefix or (path is not None and is_below(path, (prefix,)))
    return request.method != "TRACE" and below and fits(grant, request)


def _rule(grant: Grant) -> str:
    methods = " and ".join(grant.methods) if grant.methods else "requests"
    return f"the door of {grant.name} is for {methods} to {grant.upstream}, below {' and '.join(grant.paths)}"


def _rule_of_model(grant: Grant) -> str:
    assert grant.model is not None, "asked for one"
    return f"the door to {grant.name} is for calls of models in the protocol {grant.model.api}, and for lists of them"
