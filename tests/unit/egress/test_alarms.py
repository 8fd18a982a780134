"""Time limits that many connections share."""

import asyncio

from cloister.egress.alarms import Alarms


async def test_an_alarm_rings_once_and_never_early_and_one_that_was_cancelled_does_not() -> None:
    loop = asyncio.get_running_loop()
    alarms, rung = Alarms(loop), asyncio.Event()
    began = loop.time()
    times: list[float] = []

    def ring() -> None:
        times.append(loop.time() - began)
        rung.set()

    cancelled = alarms.after(0.1, lambda: times.append(-1.0))
    alarms.after(0.2, ring)
    cancelled.cancel()
    cancelled.cancel()
    async with asyncio.timeout(30):
        await rung.wait()
        await asyncio.sleep(0.3)
    assert len(times) == 1
    assert times[0] >= 0.2


async def test_an_alarm_may_cancel_another_of_its_moment_and_set_a_new_one() -> None:
    loop = asyncio.get_running_loop()
    alarms, rung = Alarms(loop), asyncio.Event()
    others = []
    called: list[int] = []

    def ring(number: int) -> None:
        called.append(number)
        for other in others:
            other.cancel()
        alarms.after(0, rung.set)

    others += [alarms.after(0.05, lambda: ring(1)), alarms.after(0.05, lambda: ring(2))]
    async with asyncio.timeout(30):
        await rung.wait()
    assert len(called) == 1


async def test_many_alarms_take_few_timers() -> None:
    loop = asyncio.get_running_loop()
    alarms = Alarms(loop)
    made: list[float] = []
    original = loop.call_at
    loop.call_at = lambda when, *rest, **more: (made.append(when), original(when, *rest, **more))[1]  # type: ignore[method-assign]
    try:
        for _ in range(10_000):
            alarms.after(30, lambda: None).cancel()
    finally:
        loop.call_at = original  # type: ignore[method-assign]
    assert len(made) < 100
