"""A tunnel's bytes: nothing goes up before its first bytes were judged, and then both ways until both ends end."""

import asyncio
from functools import partial

from cloister.egress.carrier import Carrier
from cloister.egress.first_bytes import may_go_up, no_hello_in_time
from cloister.egress.flow import Traffic
from cloister.egress.pipes import PipeShare
from cloister.egress.request import Authority
from cloister.egress.stream import Stream
from cloister.egress.watch import running_watch


async def relay(
    client: Stream,
    upstream: Stream,
    authority: Authority,
    traffic: Traffic,
    pipes: PipeShare,
    *,
    hello_seconds: float | None,
) -> None:
    """Carry bytes both ways until both ends have ended, and count them; then close both in order.

    Each direction waits for its reader, and ends for itself. With `hello_seconds` the client has to begin with a
    ClientHello within that time. Raises what ended a direction before its time: ForeignTunnelError, EOFError
    when the client left before its first bytes were judged, OSError when an end broke.
    """
    must_be_tls = hello_seconds is not None
    ended = _Ends(2)
    up = Carrier(
        client,
        upstream,
        count=traffic.count_sent,
        ended=ended.one,
        pipes=pipes,
        screen=partial(may_go_up, authority=authority, must_be_tls=must_be_tls),
    )
    down = Carrier(upstream, client, count=traffic.count_received, ended=ended.one, pipes=pipes)
    alarm = None
    if hello_seconds is not None:
        alarm = running_watch().alarms.after(hello_seconds, partial(_end_silent, up, ended, hello_seconds))
    try:
        down.start()
        up.start()
        await ended.all
    finally:
        up.stop()
        down.stop()
        if alarm is not None:
            alarm.cancel()
    await client.close_in_order()
    await upstream.close_in_order()


class _Ends:
    """Waits for so many ends, or for the first failure."""

    def __init__(self, count: int) -> None:
        self._left = count
        self.all: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def one(self, failure: Exception | None) -> None:
        self._left -= 1
        if self.all.done():
            return
        if failure is not None:
            self.all.set_exception(failure)
        elif self._left == 0:
            self.all.set_result(None)


def _end_silent(up: Carrier, ended: _Ends, seconds: float) -> None:
    if up.is_screened:
        ended.one(no_hello_in_time(seconds))
