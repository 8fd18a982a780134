"""Phase 5: nothing is left."""

from cloister.model.sandbox import SandboxName
from cloister.protocols import Egress, SandboxBackend


async def run(name: SandboxName, *, egress: Egress, backend: SandboxBackend) -> None:
    """Cut the network, kill what runs, remove the disk. Each is tried whatever became of the other."""
    try:
        await egress.close(name)
    finally:
        await backend.destroy(name)
