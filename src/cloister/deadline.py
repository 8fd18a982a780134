"""How long an attempt may still go on."""

import anyio

from cloister.errors import TaskFailedError


def seconds_until(ends_at: float) -> float:
    """Return the seconds until then, a time of the event loop. TaskFailedError when it is past."""
    left = ends_at - anyio.current_time()
    if left <= 0:
        raise TaskFailedError("limits.time was used up before the agent started")
    return left
