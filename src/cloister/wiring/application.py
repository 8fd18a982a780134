"""An open installation: what a process does with the parts that were wired together."""

import gc
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import anyio

from cloister.access import Access
from cloister.automation import Automation
from cloister.health import Health
from cloister.intake import Intake
from cloister.model.task import Outcome, TaskId, Verdict
from cloister.notary import Notary
from cloister.phases import final_disk
from cloister.protocols import Agent, AgentPacks, SandboxBackend
from cloister.reaper import (
    SnapshotReaper,
    destroy_strays,
    expire_snapshots,
    forget_given_to_nobody,
    forget_unknown_snapshots,
    forget_unused_bundles,
    forget_unused_bundles_daily,
)
from cloister.sandboxes.oci.image import OciImageStore
from cloister.settings import Settings
from cloister.tokens import Tokens
from cloister.tools import Tools
from cloister.worker import Drain, run_worker

if TYPE_CHECKING:
    from cloister.telemetry.instruments import Instruments


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """An open installation on this machine."""

    intake: Intake
    access: Access
    images: OciImageStore
    agents: Mapping[str, Agent]
    """By name."""
    packs: AgentPacks
    tools: Tools
    backend: SandboxBackend
    reaper: SnapshotReaper
    settings: Settings
    health: Health
    automation: Automation
    keep_spares: Callable[[int], Coroutine[None, None, None]]
    """Has so many sandboxes begun before anybody asks for one."""
    instruments: "Instruments | None" = None
    """What counts; None where nobody wants the numbers."""

    @property
    def tokens(self) -> Tokens:
        """Of callers from elsewhere."""
        return self.access.tokens

    async def work(self, *, until_idle: bool = False, task: TaskId | None = None, drain: Drain | None = None) -> None:
        """Run attempts (of `task`, when given) until cancelled, or with `until_idle` until none is left.

        Or until what runs is over, when `drain` was asked.
        """
        await destroy_strays(self.intake.store, self.backend)
        await self.reaper.reap()
        if not until_idle:  # it stays, so that nobody waits for this
            await forget_given_to_nobody(self.intake.store, self.tools.files, datetime.now(UTC))
            await self.tools.forge.tidy()
        gc.collect()
        gc.freeze()  # what is loaded by now stays for good, and looking through it would delay a start
        async with anyio.create_task_group() as group:
            group.start_soon(self.reaper.run)
            if not until_idle:
                group.start_soon(self.keep_spares, self.settings.spares)
                group.start_soon(forget_unused_bundles_daily, self.intake.store, self.intake.forge, _now)
            if self.instruments is not None:
                group.start_soon(self.instruments.keep_depth)
            with self.health.at_work():
                await run_worker(self.tools, slots=self.settings.slots, until_idle=until_idle, task=task, drain=drain)
            group.cancel_scope.cancel()

    async def clean(self) -> "CleanReport":
        """Cancel what no living worker holds, and remove everything that belongs to nobody."""
        cancelled = await _cancel_unowned(self.tools, Notary(self.tools.queue, self.tools.vault, self.tools.ceiling))
        destroyed = await destroy_strays(self.intake.store, self.backend)
        await forget_given_to_nobody(self.intake.store, self.tools.files, datetime.now(UTC))
        await self.tools.forge.tidy()
        await forget_unused_bundles(self.intake.store, self.intake.forge, datetime.now(UTC))
        expired = await expire_snapshots(self.tools.catalog, self.backend, datetime.now(UTC))
        expired += await forget_unknown_snapshots(self.tools.catalog, self.backend)
        return CleanReport(attempts=cancelled, sandboxes=destroyed, snapshots=expired)


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanReport:
    """How much `clean` ended and removed."""

    attempts: int
    sandboxes: int
    snapshots: int


async def _cancel_unowned(tools: Tools, notary: Notary) -> int:
    cancelled = 0
    while attempt := await tools.queue.claim_unowned():
        outcome = Outcome(verdict=Verdict.CANCELLED, reason="no living worker had it, and `cloister clean` ended it")
        await final_disk.forget(attempt, catalog=tools.catalog, backend=tools.backend)
        await tools.queue.finish(attempt, outcome, await notary.sign(attempt, outcome))
        cancelled += 1
    return cancelled


def _now() -> datetime:
    return datetime.now(UTC)
