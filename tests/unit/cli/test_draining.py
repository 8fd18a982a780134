"""A server is told to end also while it still begins."""

from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from cloister.cli.draining import end_in_time
from cloister.cli.follow import Interruption
from cloister.worker import Drain

pytestmark = pytest.mark.anyio


async def test_who_asked_before_anybody_waited_is_heard() -> None:
    application: Any = SimpleNamespace(health=SimpleNamespace(is_draining=False), settings=SimpleNamespace(drain=0))
    interruption = Interruption()
    interruption.note()
    with anyio.fail_after(30):
        await end_in_time(application, Drain(), anyio.Event(), interruption)
    assert application.health.is_draining
