"""Calls of a model that come in by its door: made ready for the provider, carried, counted and reported."""

from dataclasses import replace
from http import HTTPStatus
from urllib.parse import quote, unquote_plus

import h11

from cloister.egress.answer import AnswerError
from cloister.egress.brokering import carry
from cloister.egress.flow import Flow
from cloister.egress.gate import Gate
from cloister.egress.metering import Meter
from cloister.egress.request import Request
from cloister.egress.route import Route
from cloister.egress.stream import Stream
from cloister.model.model_door import ModelCall, ModelDoor
from cloister.model.phase import Phase
from cloister.model.secret import Grant

_CREDENTIALS = frozenset((b"authorization", b"api-key", b"x-api-key", b"x-goog-api-key"))
"""Where clients of some protocol put what they take for a key, whichever place the provider's own is."""
_KEY_PARAMETER = "key"
"""Where Gemini's may put it."""


def asked_of_provider(request: Request, door: ModelDoor) -> Request:
    """Return the request without the sandbox's idea of credentials, and with what the provider always wants."""
    fixed = {name.lower().encode() for name, _ in door.headers} | _CREDENTIALS
    headers = tuple((name, value) for name, value in request.headers if name.lower() not in fixed)
    headers += tuple((name.encode(), value.encode()) for name, value in door.headers)
    path, _, query = request.target.partition("?")
    replaced = {_KEY_PARAMETER, *(name for name, _ in door.query)}
    pairs = [pair for pair in query.split("&") if pair and unquote_plus(pair.partition("=")[0]) not in replaced]
    pairs += [f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in door.query]
    return replace(request, headers=headers, target=f"{path}?{'&'.join(pairs)}" if pairs else path)


async def carry_call(
    gate: Gate, flow: Flow, route: Route, client: Stream, near: h11.Connection, request: Request, grant: Grant
) -> bool:
    """Carry one call, as `carry` does, and report what it used or why it failed, however it ends.

    AnswerError at once for a key that the provider did not take before.
    """
    assert grant.model is not None, "its door"
    gate.keys.check(grant)
    meter = Meter(grant.model.api)
    try:
        seconds = gate.settings.model_seconds
        return await carry(gate, flow, route, client, near, request, around=meter.around, silence_seconds=seconds)
    except AnswerError as error:
        if error.status is not HTTPStatus.FORBIDDEN:  # which is our own refusal, and told as such
            meter.fail(error.sentence)
        raise
    finally:
        call = _call(gate, flow, grant, meter)
        gate.keys.learn(grant, call)
        if call.usage is not None or call.fault:
            gate.tell_call(call)


def _call(gate: Gate, flow: Flow, grant: Grant, meter: Meter) -> ModelCall:
    usage = meter.usage()
    return ModelCall(
        sandbox=gate.name,
        phase=flow.traffic.phase or Phase.AGENT,
        flow=flow.number,
        provider=grant.name,
        status=meter.status,
        model=meter.model,
        usage=usage,
        estimated=usage is not None and meter.is_estimated,
        fault=meter.fault() if flow.traffic.phase is not None else "",
        key_refused=meter.says_key_is_invalid or gate.keys.is_refusal(grant, meter.status),
        retry_after=meter.retry_after,
    )
