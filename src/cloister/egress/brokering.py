"""One request and its response with an upstream: secrets put in, leaks refused, and what comes back masked."""

from collections.abc import Callable
from http import HTTPStatus

import h11

from cloister.egress.answer import AnswerError
from cloister.egress.decoding import DECODED, Decoder
from cloister.egress.exchange import PASSING, Exchange, Passing
from cloister.egress.flow import Flow
from cloister.egress.forwarded import Forwarded
from cloister.egress.gate import Gate
from cloister.egress.inject import Broker, LeakError
from cloister.egress.request import Request
from cloister.egress.route import Route
from cloister.egress.stream import Stream
from cloister.masking import MaskingRedactor
from cloister.model.network import Decision, RuleKind

_BODILESS = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)


async def carry(
    gate: Gate,
    flow: Flow,
    route: Route,
    client: Stream,
    near: h11.Connection,
    request: Request,
    *,
    around: Callable[[Passing], Passing] = lambda passing: passing,
    silence_seconds: float | None = None,
) -> bool:
    """Carry a request along its route, as `Exchange.carry` does.

    To an upstream that is trusted, values that are for it go along: those of the door that the flow came through, else
    those that belong to no door. `around` may look at what passes, as the sandbox has it; `silence_seconds` are allowed
    in place of what the settings say. AnswerError for what is refused, and for an upstream that fails.
    """
    sent, passing = await _broker(gate, flow, request, secure=route.trusted)
    passing = around(passing)
    upstream = await route.connect(flow)
    exchange = Exchange(
        client,
        near,
        sent,
        upstream,
        silence_seconds=silence_seconds or gate.settings.response_seconds,
        passing=passing if upstream.proxy is None else Forwarded(passing, upstream.proxy),
        default_port=route.default_port,
    )
    return await _carry(gate, flow, exchange)


async def _broker(gate: Gate, flow: Flow, request: Request, *, secure: bool) -> tuple[Request, Passing]:
    """Return what shall be sent in place of the request, and what the exchange's bytes have to pass."""
    if not gate.broker.grants:
        return request, PASSING
    try:
        injected = gate.broker.inject(request, secure=secure, door=flow.door)
    except LeakError as leak:
        await gate.refuse(flow, _refusal(leak))
    if secure:
        flow.traffic.granted = gate.broker.granted(request.authority.host, flow.door)
    masker = gate.broker.masker(request.authority.host, flow.door) if secure else None
    return injected, Brokered(request, gate.broker, masker)


async def _carry(gate: Gate, flow: Flow, exchange: Exchange) -> bool:
    """Carry the exchange, and count its bytes. A leak in the body is reported and ends it."""
    try:
        return await exchange.carry()
    except LeakError as leak:
        if not exchange.answered:
            await gate.refuse(flow, _refusal(leak))
        await gate.record(flow, _refusal(leak))
        raise ConnectionAbortedError(str(leak)) from leak
    finally:
        flow.traffic.count_sent(exchange.sent_bytes)
        flow.traffic.count_received(exchange.received_bytes)


class Brokered(Passing):
    """What passes between a sandbox with grants and an upstream: no placeholder up, no value down."""

    def __init__(self, request: Request, broker: Broker, masker: MaskingRedactor | None) -> None:
        self._request = request
        self._broker = broker
        self._finder = broker.finder()
        self._masker = masker
        self._decoder: Decoder | None = None

    def upload(self, data: bytes) -> bytes:
        """Return what may go up by now; what may yet become a placeholder is held back. Raises LeakError."""
        return self._innocent(self._finder.feed(data))

    def end_of_upload(self) -> bytes:
        """Return what was held back."""
        return self._innocent(self._finder.flush())

    def head(self, response: h11.Response) -> h11.Response:
        """Return the response's head, masked, without the length that masking may change, and of a plain body."""
        if self._masker is None:
            return response
        has_body = self._request.method != "HEAD" and response.status_code not in _BODILESS
        if has_body:
            self._decoder = self._decoder_for(response)
        dropped = {b"content-length"} if has_body else set()
        if self._decoder is not None:
            dropped.add(b"content-encoding")
        headers = [
            (name, self._masked(value))
            for name, value in response.headers.raw_items()
            if self._masked(name) == name and name.lower() not in dropped
        ]
        return h11.Response(
            status_code=response.status_code, headers=headers, reason=self._masked(bytes(response.reason))
        )

    def download(self, data: bytes) -> bytes:
        """Return what can be shown by now."""
        if self._decoder is not None:
            data = self._decoder.feed(data)
        return data if self._masker is None else self._masker.feed(data)

    def end_of_download(self) -> bytes:
        """Return what was held back."""
        if self._decoder is not None:
            self._decoder.end()
        return b"" if self._masker is None else self._masker.flush()

    def sentence(self, text: str) -> str:
        """Return it masked: the parser quotes what it could not read."""
        return text if self._masker is None else self._masked(text.encode()).decode()

    def _decoder_for(self, response: h11.Response) -> Decoder | None:
        """Return what makes the body plain, None when it is. AnswerError for a compression that we do not know."""
        codings = [value.strip().lower() for name, value in response.headers if name == b"content-encoding"]
        codings = [coding for coding in codings if coding != b"identity"]
        if not codings:
            return None
        if len(codings) > 1 or codings[0] not in DECODED:
            raise AnswerError(
                HTTPStatus.BAD_GATEWAY,
                f"{self._request.authority} compressed its answer although it was asked not to, so that it could not "
                "be searched for a secret's value.",
            )
        return Decoder()

    def _innocent(self, data: bytes) -> bytes:
        for name in sorted(self._finder.found):
            raise self._broker.leak(name, "the body")
        return data

    def _masked(self, text: bytes) -> bytes:
        assert self._masker is not None, "asked only with one"
        masker = self._masker.fresh()
        return masker.feed(text) + masker.flush()


def _refusal(leak: LeakError) -> Decision:
    return Decision(allowed=False, rule=str(leak), kind=RuleKind.SECRET)
