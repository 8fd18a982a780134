"""The front of a sandbox's connection: heads of requests come in, and what goes wrong is answered."""

import asyncio
from collections.abc import Awaitable
from http import HTTPStatus

from cloister.egress.answer import AnswerError, send_answer
from cloister.egress.gate import Gate
from cloister.egress.request import END_OF_HEAD, LARGEST_HEAD_BYTES, MalformedError
from cloister.egress.stream import Stream


async def answer_failures(gate: Gate, client: Stream, serving: Awaitable[None]) -> None:
    """Await the serving of a connection to its end, and say to the client what failed. Raises only cancellation."""
    try:
        await serving
        await client.close_in_order()
    except MalformedError as error:
        await gate.record_malformed(str(error))
        await send_answer(client, AnswerError(HTTPStatus.BAD_REQUEST, f"Cloister could not read the request: {error}."))
    except AnswerError as answer:
        await send_answer(client, answer)
    except (OSError, EOFError):
        client.close()  # one end has gone, so the other is reset, also when this was inside a tunnel


async def read_first_head(client: Stream, seconds: float) -> bytes | None:
    """Return the head of a connection's first request; None when it ends before. AnswerError when none comes."""
    try:
        return await _read_head(client, seconds)
    except TimeoutError as error:
        sentence = f"Cloister waited {seconds:g} s for a request."
        raise AnswerError(HTTPStatus.REQUEST_TIMEOUT, sentence) from error


async def read_next_head(client: Stream, seconds: float) -> bytes | None:
    """Return the head of a later request; None when none comes."""
    try:
        return await _read_head(client, seconds)
    except TimeoutError:
        return None  # an answer now would be taken for that of the next request


async def _read_head(client: Stream, seconds: float) -> bytes | None:
    if (head := client.take_until(END_OF_HEAD, limit=LARGEST_HEAD_BYTES)) is not None:
        return head  # at once, as most come, for a clock takes long to start
    try:
        async with asyncio.timeout(seconds):
            return await client.receive_until(END_OF_HEAD, limit=LARGEST_HEAD_BYTES)
    except ValueError as error:
        sentence = f"The head of a request may have {LARGEST_HEAD_BYTES} bytes."
        raise AnswerError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, sentence) from error
