"""What the egress process says to the worker, which trusts it no further than this."""

import os

from msgspec.json import Decoder

from cloister.egress.control import ControlChannel
from cloister.egress.messages import Said

SAID = Decoder[Said](Said)


class BrokenChildError(Exception):
    """The child said what it never says; it is ended and replaced."""


async def hear(channel: ControlChannel[Said]) -> Said | None:
    """Return what the child says next, None at its end. It parses hostile input, so it is not trusted either."""
    try:
        received = await channel.receive()
    except OSError:
        return None
    except ValueError as error:
        raise BrokenChildError from error
    if received is None:
        return None
    said, descriptors = received
    for descriptor in descriptors:
        os.close(descriptor)
    return said
