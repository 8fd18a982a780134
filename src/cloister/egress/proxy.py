"""The proxy as a sandbox sees it: CONNECT, and plain HTTP, one request after the other."""

from functools import partial

import h11

from cloister.egress.brokering import carry_plainly
from cloister.egress.flow import Flow
from cloister.egress.front import answer_failures, read_first_head, read_next_head
from cloister.egress.gate import Gate
from cloister.egress.gateway import CONNECT, HTTP_PORT, HTTPS_PORT
from cloister.egress.request import LARGEST_HEAD_BYTES, Authority, Request, parse_request
from cloister.egress.stream import Stream
from cloister.egress.tunnel import ACCESS_DENIED_ALERT, ForeignTunnelError, read_hello, relay, starts_with_tls
from cloister.model.network import Decision

_ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


async def serve_client(gate: Gate, client: Stream) -> None:
    """Serve one connection of a sandbox to its end. Raises nothing but cancellation; the caller closes `client`."""
    await answer_failures(gate, client, _serve_requests(gate, client, inside=None))


async def _serve_requests(gate: Gate, client: Stream, *, inside: Authority | None) -> None:
    """Serve requests until the client has no more. Each is judged for itself, also on a kept-alive connection."""
    head = await read_first_head(client, gate.settings.request_seconds)
    while head is not None:
        near = h11.Connection(h11.SERVER, max_incomplete_event_size=LARGEST_HEAD_BYTES)
        request = parse_request(near, head, inside=inside)
        if request.method == CONNECT:
            await _serve_tunnel(gate, client, request.authority)
            return
        if not await _serve_exchange(gate, client, near, request):
            return
        head = await read_next_head(client, gate.settings.idle_seconds)


async def _serve_exchange(gate: Gate, client: Stream, near: h11.Connection, request: Request) -> bool:
    methods = (request.method, *_overriding_methods(gate, request))
    with gate.flow(request.authority, *methods, target=request.target) as flow:
        return await carry_plainly(gate, flow, client, near, request)


def _overriding_methods(gate: Gate, request: Request) -> tuple[str, ...]:
    """Where methods are limited, a header that some servers take for the method is limited as well."""
    return request.overriding_methods if gate.policy.methods is not None else ()


async def _serve_tunnel(gate: Gate, client: Stream, authority: Authority) -> None:
    with gate.flow(authority, CONNECT) as flow:
        if authority.port == HTTP_PORT:
            await _serve_tunnelled_http(gate, client, flow)
        else:
            await _serve_opaque_tunnel(gate, client, flow)


async def _serve_tunnelled_http(gate: Gate, client: Stream, flow: Flow) -> None:
    """Serve a tunnel to the port of plain HTTP by reading its requests: nothing else goes through it."""
    await gate.check(flow)
    await client.send(_ESTABLISHED)
    await _serve_requests(gate, client, inside=flow.authority)


async def _serve_opaque_tunnel(gate: Gate, client: Stream, flow: Flow) -> None:
    upstream = await gate.reach(flow)
    try:
        await client.send(_ESTABLISHED)
        before_upload = None
        if flow.authority.port == HTTPS_PORT:
            await _pass_hello(gate, client, flow)
        else:
            before_upload = partial(_pass_first_bytes, gate, client, flow)
        await relay(
            client,
            upstream,
            before_upload=before_upload,
            sent=flow.traffic.count_sent,
            received=flow.traffic.count_received,
        )
    except ForeignTunnelError as error:
        await gate.record(flow, Decision(allowed=False, rule=str(error)))
        await client.send(ACCESS_DENIED_ALERT)  # no other words are left
        await client.close_in_order()
    finally:
        upstream.close()


async def _pass_first_bytes(gate: Gate, client: Stream, flow: Flow) -> None:
    """On a port that the policy names, any protocol may be spoken; but TLS must be for the tunnel's host there too."""
    first = await client.receive()
    client.unread(first)
    if starts_with_tls(first):
        await _pass_hello(gate, client, flow)


async def _pass_hello(gate: Gate, client: Stream, flow: Flow) -> None:
    """Check a tunnel's first bytes, and put them back."""
    client.unread(await read_hello(client, flow.authority, seconds=gate.settings.request_seconds))
