"""Upstreams that proved who they are: TLS, verified against the host's authorities and those of the settings."""

import ssl
from functools import cache
from http import HTTPStatus

from cloister.egress.answer import AnswerError
from cloister.egress.flow import Flow
from cloister.egress.gate import Gate
from cloister.egress.tls import TlsStream


async def reach_securely(gate: Gate, flow: Flow) -> TlsStream:
    """Do as `Gate.reach`, and shake hands. AnswerError also for an upstream that is not who it should be."""
    context = verifying_context(gate.settings.authorities)
    upstream = TlsStream(await gate.reach(flow), context, server_name=flow.authority.host)
    try:
        await upstream.shake_hands(seconds=gate.settings.dial_seconds)
    except TimeoutError as error:
        upstream.close()
        sentence = f"{flow.authority} did not agree on TLS within {gate.settings.dial_seconds:g} s."
        raise AnswerError(HTTPStatus.GATEWAY_TIMEOUT, sentence) from error
    except OSError as error:
        upstream.close()
        raise AnswerError(HTTPStatus.BAD_GATEWAY, f"{flow.authority} failed in TLS: {_reason(error)}.") from error
    except BaseException:
        upstream.close()
        raise
    return upstream


@cache
def verifying_context(authorities: str) -> ssl.SSLContext:
    """Return the client's side of TLS, as HTTP/1.1 needs it. `authorities` are PEM certificates beside the host's."""
    context = ssl.create_default_context()
    if authorities:
        context.load_verify_locations(cadata=authorities)
    context.set_alpn_protocols(["http/1.1"])
    return context


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not valid for it ({error.verify_message})"
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.replace("_", " ").lower()
    return error.strerror or str(error)
