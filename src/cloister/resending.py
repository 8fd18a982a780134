"""When a request is sent again: only where it cannot be carried out twice by that."""

from collections.abc import Awaitable, Callable

import httpx
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, retry_if_result, stop_before_delay
from tenacity.wait import wait_exponential_jitter

_TRIES = 5
"""Of a server that does not answer: about two seconds in all."""
_PATIENCE_SECONDS = 60.0
"""How long a server may go on saying that it can only answer later."""
_LATER = frozenset({409, 429, 503})
"""Statuses that say so, when Retry-After is with them: nothing was carried out."""

_pause = wait_exponential_jitter(multiplier=0.1, max=2.0, jitter=0.1)


async def send_again(send: Callable[[], Awaitable[httpx.Response]], *, repeatable: bool) -> httpx.Response:
    """Return the response, and send a request again that met no server, or a server that asked for that.

    With `repeatable` also one of which nobody knows whether it was carried out. httpx.TransportError at the end.
    """

    def met_nobody(error: BaseException) -> bool:
        return isinstance(error, httpx.TransportError if repeatable else httpx.ConnectError)

    trying = AsyncRetrying(
        retry=retry_if_exception(met_nobody) | retry_if_result(_says_later),
        wait=_wait,
        stop=_stop,
        retry_error_callback=_last,
    )
    return await trying(send)


def _says_later(response: httpx.Response) -> bool:
    return response.status_code in _LATER and _seconds(response) is not None


def _seconds(response: httpx.Response) -> float | None:
    """Return what Retry-After says; None for a date, or nothing (RFC 9110, 10.2.3)."""
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() else None


def _wait(state: RetryCallState) -> float:
    assert state.outcome is not None
    if state.outcome.failed:
        return _pause(state)
    return max(_seconds(state.outcome.result()) or 0.0, _pause(state))


def _stop(state: RetryCallState) -> bool:
    assert state.outcome is not None
    if state.outcome.failed:
        return state.attempt_number >= _TRIES
    return stop_before_delay(_PATIENCE_SECONDS)(state)


def _last(state: RetryCallState) -> httpx.Response:
    assert state.outcome is not None
    response: httpx.Response = state.outcome.result()  # or what was raised
    return response
