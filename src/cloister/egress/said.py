"""What the egress process says to the worker, which trusts it no further than this."""

import os
from functools import lru_cache
from ipaddress import ip_address

from msgspec.json import Decoder

from cloister.egress.control import ControlChannel
from cloister.egress.messages import Recorded, Said, Who
from cloister.model.asker import Connection

SAID = Decoder(list[Said])
_PORTS = 2**16


class BrokenChildError(Exception):
    """The child said what it never says; it is ended and replaced."""


async def hear(channel: ControlChannel[Said]) -> Said | None:
    """Return what the child says next, None at its end. It parses hostile input, so it is not trusted either."""
    try:
        received = await channel.receive()
        if received is None:
            return None
        said, descriptors = received
        for descriptor in descriptors:
            os.close(descriptor)
        if isinstance(said, Recorded | Who) and said.question is not None:
            _check(said.question.connection)
    except OSError:
        return None
    except ValueError as error:
        raise BrokenChildError from error
    return said


@lru_cache(maxsize=256)
def _family(address: str) -> int:
    return ip_address(address).version


def _check(connection: Connection) -> None:
    """Raise ValueError when there is no such connection."""
    if _family(connection.source) != _family(connection.target):
        raise ValueError("a connection is of one family")
    if not all(0 < port < _PORTS for port in (connection.source_port, connection.target_port)):
        raise ValueError("a port is a number of 16 bits")
