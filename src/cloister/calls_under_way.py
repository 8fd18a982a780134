"""Which calls of its model an agent waits for, from what the egress process tells as they begin and end."""

import anyio

from cloister.model.network import EgressEnd, EgressLost, EgressRecord, EgressTold


class CallsUnderWay:
    """Of one attempt."""

    def __init__(self) -> None:
        self._flows: set[int] = set()
        self._changed = anyio.Event()

    def hear(self, told: EgressTold) -> None:
        """Take in what is told; what concerns no model's door does not matter."""
        before = bool(self._flows)
        match told:
            case EgressRecord(of_model=True, flow=flow):
                self._flows.add(flow)
            case EgressEnd(flow=flow):
                self._flows.discard(flow)
            case EgressLost():
                self._flows.clear()
        if before is not bool(self._flows):
            self._changed.set()
            self._changed = anyio.Event()

    async def until(self, *, any_: bool) -> None:
        """Return once there are some, or with `any_=False` once there are none."""
        while bool(self._flows) is not any_:
            await self._changed.wait()
