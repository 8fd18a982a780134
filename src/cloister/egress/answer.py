"""Answers of the proxy itself: a status, and one sentence that tells its reader what to do."""

import asyncio
import contextlib
import errno
from http import HTTPStatus

from cloister.egress.stream import Stream

_SEND_SECONDS = 10.0
_LONGEST_SENTENCE = 2000
_SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)


class AnswerError(Exception):
    """The proxy answers a request itself, and closes the connection."""

    def __init__(self, status: HTTPStatus, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence
        """Safe to show in the sandbox."""


def answer_shortage(error: OSError) -> AnswerError | None:
    """Return the answer to what this machine has too little of; None for what came from the network."""
    if error.errno not in _SHORTAGES:
        return None
    sentence = f"Cloister has no means left to reach anybody at the moment: {error.strerror}. Try again."
    return AnswerError(HTTPStatus.SERVICE_UNAVAILABLE, sentence)


async def send_answer(client: Stream, answer: AnswerError) -> None:
    """Send the answer and close the connection in order. A client that is gone, or does not read, is left."""
    body = answer.sentence.encode("ascii", "backslashreplace")[:_LONGEST_SENTENCE] + b"\n"
    head = (
        f"HTTP/1.1 {answer.status.value} {answer.status.phrase}\r\n"
        "Content-Type: text/plain; charset=us-ascii\r\n"
        f"Content-Length: {len(body)}\r\n"
        "Via: 1.1 cloister\r\n"
        "Connection: close\r\n\r\n"
    )
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(_SEND_SECONDS):
            await client.send(head.encode() + body)
            await client.close_in_order()
