"""From a name to a connection: looked up once, every address classified, and a classified address dialled."""

import asyncio
import socket
from collections.abc import Sequence
from http import HTTPStatus
from ipaddress import ip_address
from time import monotonic

from cloister.egress.addresses import Address, is_address
from cloister.egress.answer import AnswerError, answer_shortage
from cloister.egress.request import Authority
from cloister.egress.stream import Stream


async def look_up(authority: Authority, *, seconds: float) -> list[Address]:
    """Return the addresses of the authority's host, in the order to be tried.

    By the host's own resolver, so that its search order and hosts file hold. AnswerError when there are none.
    """
    if is_address(authority.host):
        return [ip_address(authority.host)]
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(seconds):
            found = await loop.getaddrinfo(authority.host, authority.port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise AnswerError(
            HTTPStatus.BAD_GATEWAY, f"Cloister could not look up {authority.host}: {error.strerror}."
        ) from error
    except TimeoutError as error:
        raise AnswerError(
            HTTPStatus.GATEWAY_TIMEOUT, f"Cloister could not look up {authority.host} within {seconds:g} s."
        ) from error
    return list(dict.fromkeys(ip_address(entry[4][0]) for entry in found))


async def dial(authority: Authority, addresses: Sequence[Address], *, seconds: float) -> Stream:
    """Return a connection to the first of these addresses that takes one, within `seconds` for all of them.

    AnswerError when none does, with the last one's reason.
    """
    deadline = monotonic() + seconds
    failure: AnswerError | None = None
    for position, address in enumerate(addresses):
        left = max(deadline - monotonic(), 0.0)
        try:
            # What is left is shared evenly, so that one dead address leaves time for the others.
            return await _connect(address, authority.port, seconds=left / (len(addresses) - position))
        except TimeoutError:
            failure = AnswerError(
                HTTPStatus.GATEWAY_TIMEOUT,
                f"{authority} did not take a connection within {seconds:g} s (last tried at {address}).",
            )
        except OSError as error:
            failure = answer_shortage(error) or AnswerError(
                HTTPStatus.BAD_GATEWAY, f"{authority} did not take a connection at {address}: {error.strerror}."
            )
    raise failure or AnswerError(HTTPStatus.BAD_GATEWAY, f"{authority.host} has no address.")


async def _connect(address: Address, port: int, *, seconds: float) -> Stream:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    stream = Stream(socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK))
    try:
        await stream.connect(str(address), port, seconds=seconds)
    except BaseException:
        stream.close()
        raise
    return stream
