"""Phase 5: nothing is left."""

from collections.abc import Sequence
from contextlib import AsyncExitStack

from cloister.model.sandbox import SandboxName
from cloister.protocols import Egress, SandboxBackend


async def run(names: Sequence[SandboxName], *, egress: Egress, backend: SandboxBackend) -> None:
    """Cut the network, kill what runs, remove the disk. Each is tried whatever became of the others."""
    async with AsyncExitStack() as steps:
        for name in names:
            steps.push_async_callback(backend.destroy, name)
            steps.push_async_callback(egress.close, name)
