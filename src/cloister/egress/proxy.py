"""The proxy as a sandbox sees it: CONNECT, and plain HTTP, one request after the other."""

from contextlib import closing
from http import HTTPStatus

import h11

from cloister.egress.answer import AnswerError
from cloister.egress.brokering import carry
from cloister.egress.first_bytes import ACCESS_DENIED_ALERT, ForeignTunnelError, check_hello
from cloister.egress.flow import Flow
from cloister.egress.front import answer_failures, read_first_head, read_next_head
from cloister.egress.gate import Gate
from cloister.egress.gateway import CONNECT, HTTP_PORT, HTTPS_PORT
from cloister.egress.intercept import Interception
from cloister.egress.request import Authority, Request, new_server, parse_connect, parse_request
from cloister.egress.route import Route
from cloister.egress.stream import Stream
from cloister.egress.tunnel import relay
from cloister.model.network import Decision, RuleKind

_ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
_TRUST = "let the program trust the authorities in $SSL_CERT_FILE, Cloister's own among them"


async def serve_client(gate: Gate, client: Stream) -> None:
    """Serve one connection of a sandbox to its end. Raises nothing but cancellation; the caller closes `client`."""
    await serve_route(gate, client, Route(gate))


async def serve_route(gate: Gate, client: Stream, route: Route) -> None:
    """Serve the requests of a connection, all of which take `route`, as `serve_client` does."""
    try:
        await answer_failures(gate, client, _serve_requests(gate, client, route))
    finally:
        route.close()


async def _serve_requests(gate: Gate, client: Stream, route: Route) -> None:
    """Serve requests until the client has no more. Each is judged for itself, also on a kept-alive connection."""
    head = await read_first_head(client, gate.settings.request_seconds)
    while head is not None:
        if route.inside is None and head.startswith(b"CONNECT "):
            await serve_tunnel(gate, client, parse_connect(head).authority)
            return
        near = new_server()
        request = parse_request(near, head, inside=route.inside, default_port=route.default_port)
        if not await serve_exchange(gate, client, near, request, route):
            return
        head = await read_next_head(client, gate.settings.idle_seconds)


async def serve_exchange(gate: Gate, client: Stream, near: h11.Connection, request: Request, route: Route) -> bool:
    """Carry one request by the policy. Return whether another may follow; raises as `brokering.carry` does."""
    methods = (request.method, *_overriding_methods(gate, request))
    with gate.flow(request.authority, *methods, target=request.target) as flow:
        return await carry(gate, flow, route, client, near, request)


def _overriding_methods(gate: Gate, request: Request) -> tuple[str, ...]:
    """Where methods are limited, a header that some servers take for the method is limited as well."""
    limited = gate.policy.methods is not None or gate.settings.ceiling.methods is not None
    return request.overriding_methods if limited else ()


async def serve_tunnel(gate: Gate, client: Stream, authority: Authority, *, greeting: bytes = _ESTABLISHED) -> None:
    """Serve a tunnel to `authority` to its end; `greeting` tells the client that it may speak.

    AnswerError while it was not greeted; OSError and EOFError when one end has gone.
    """
    if authority.port == HTTP_PORT:
        await _serve_plain_tunnel(gate, client, authority, greeting)
    elif gate.must_read(authority):
        await _serve_read_tunnel(gate, client, authority, greeting)
    else:
        await _serve_opaque_tunnel(gate, client, authority, greeting)


async def _serve_plain_tunnel(gate: Gate, client: Stream, authority: Authority, greeting: bytes) -> None:
    """Serve a tunnel to the port of plain HTTP by reading its requests: nothing else goes through it."""
    with gate.flow(authority, CONNECT) as flow:
        await gate.check(flow)
        await client.send(greeting)
        await serve_route(gate, client, Route(gate, inside=authority, kept_alive=True))


async def _serve_read_tunnel(gate: Gate, client: Stream, authority: Authority, greeting: bytes) -> None:
    """Serve a tunnel by being the server to the client: nothing but HTTPS goes through it."""
    if gate.tls is None:
        raise AnswerError(HTTPStatus.BAD_GATEWAY, "Cloister has no authority to read HTTPS with, as it must here.")
    with (
        gate.flow(authority, CONNECT) as flow,
        closing(Route(gate, inside=authority, secure=True, kept_alive=True)) as route,
    ):
        await route.connect(flow)
        await client.send(greeting)
        if (inner := await _meet_client(gate, gate.tls, client, flow)) is not None:
            await serve_route(gate, inner, route)


async def _meet_client(gate: Gate, tls: Interception, client: Stream, flow: Flow) -> Stream | None:
    """Return the client's connection inside TLS; None when it had to be refused, or does not trust us."""
    try:
        await check_hello(client, flow.authority, seconds=gate.settings.request_seconds)
        return await tls.meet_client(client, flow.authority, seconds=gate.settings.request_seconds)
    except ForeignTunnelError as error:
        await _refuse_tunnel(gate, client, flow, str(error))
    except (OSError, TimeoutError) as error:
        reason = getattr(error, "reason", None) or "it hung up"
        rule = f"the client broke off TLS: {reason}"
        await gate.record(flow, Decision(allowed=False, rule=rule, hint=_TRUST, kind=RuleKind.TLS))
    return None


async def _refuse_tunnel(gate: Gate, client: Stream, flow: Flow, reason: str) -> None:
    await gate.record(flow, Decision(allowed=False, rule=reason, kind=RuleKind.TLS))
    await client.send(ACCESS_DENIED_ALERT)  # no other words are left
    await client.close_in_order()


async def _serve_opaque_tunnel(gate: Gate, client: Stream, authority: Authority, greeting: bytes) -> None:
    """Serve a tunnel that is not read; on a port of the policy's own, any protocol may be spoken in it."""
    hello_seconds = gate.settings.request_seconds if authority.port == HTTPS_PORT else None
    with gate.flow(authority, CONNECT, opaque=True) as flow:
        upstream = await gate.reach(flow)
        try:
            await client.send(greeting)
            await relay(client, upstream, authority, flow.traffic, gate.pipes, hello_seconds=hello_seconds)
        except ForeignTunnelError as error:
            await _refuse_tunnel(gate, client, flow, str(error))
        finally:
            upstream.close()
