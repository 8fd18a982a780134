"""When an agent waits for its model."""

from dataclasses import replace

import anyio
import pytest

from cloister.calls_under_way import CallsUnderWay
from cloister.model.network import Decision, EgressEnd, EgressLost, EgressRecord
from cloister.model.phase import Phase

CALL = EgressRecord(
    sandbox="t-1",
    phase=Phase.AGENT,
    host="hub.example.com",
    port=443,
    method="POST",
    decision=Decision(allowed=True, rule="door 3130: hub"),
    flow=1,
    of_model=True,
)
END = EgressEnd(sandbox="t-1", phase=Phase.AGENT, flow=1, sent_bytes=1, received_bytes=2, seconds=0.5)


async def _waits(calls: CallsUnderWay) -> bool:
    """Whether some are under way, as both sides have it."""
    with anyio.move_on_after(0) as scope:
        await calls.until(any_=True)
    with anyio.move_on_after(0) as other:
        await calls.until(any_=False)
    assert scope.cancelled_caught is not other.cancelled_caught
    return other.cancelled_caught


async def test_what_is_no_call_of_the_model_is_not_waited_for() -> None:
    calls = CallsUnderWay()
    calls.hear(replace(CALL, of_model=False))
    calls.hear(END)
    assert not await _waits(calls)


@pytest.mark.parametrize("last", [replace(END, flow=2), EgressLost(sandbox="t-1")], ids=["ended", "lost"])
async def test_calls_are_waited_for_until_the_last_is_over(last: EgressEnd | EgressLost) -> None:
    calls = CallsUnderWay()
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: calls.until(any_=True))
        await anyio.lowlevel.checkpoint()
        calls.hear(CALL)
    calls.hear(replace(CALL, flow=2))
    calls.hear(END)
    assert await _waits(calls)
    calls.hear(last)
    assert not await _waits(calls)
