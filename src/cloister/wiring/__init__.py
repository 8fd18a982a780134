"""Settings in, a working application out: the only package that knows which parts are real."""

import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from cloister.certificates import read_certificates
from cloister.doctor import examine
from cloister.doctor.finding import Finding
from cloister.egress.outgoing import GuardedSender
from cloister.environments import Environments
from cloister.health import Health
from cloister.intake import Intake
from cloister.model_roster import ModelRoster
from cloister.reaper import SnapshotReaper
from cloister.sandboxes.oci.network import find_catching_error
from cloister.sandboxes.oci.volume import find_volume_error
from cloister.settings import Settings
from cloister.stores.database import Database
from cloister.stores.environments import SqlEnvironmentStore
from cloister.tools import Tools
from cloister.wiring.access import access_of
from cloister.wiring.adapters import Adapters, open_adapters
from cloister.wiring.application import Application, CleanReport
from cloister.wiring.automation import automation_of
from cloister.wiring.clock import utc_now
from cloister.wiring.forge import open_host, pull_requests_of, reviews_of
from cloister.wiring.instruments import open_instruments
from cloister.wiring.network import providers_of, reach_of

if TYPE_CHECKING:
    from cloister.backup.state import State
    from cloister.telemetry.instruments import Instruments

__all__ = [
    "Application",
    "CleanReport",
    "access_of",
    "automation_of",
    "examine_host",
    "open_application",
    "open_host",
    "pull_requests_of",
    "reach_of",
    "reviews_of",
    "state_of",
]

_SHARE_OF_SNAPSHOTS = 5
"""Of the file system that the state directory is on: a fifth, where the settings say nothing."""


@asynccontextmanager
async def open_application(
    settings: Settings, *, measured: bool = False, served: bool = False, asked_only: bool = False
) -> AsyncIterator[Application]:
    """Open the installation in this process. Nothing is run until `work` is called.

    With `measured`, what it does is counted, and shown where the settings and OpenTelemetry's variables say; with
    `served` too, for `/metrics` as well. Where it is `asked_only`, nothing is made ready for sandboxes ahead of them.
    """
    models, authorities = providers_of(settings), read_certificates(settings.authorities)  # refused before all else
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(Database.open(settings.state / "cloister.db"))
        instruments = None
        if measured:
            shown = served and settings.metrics_access != "off"
            instruments = stack.enter_context(open_instruments(settings, database, shown=shown))
        parts = await open_adapters(settings, stack, database, authorities, instruments, asked_only=asked_only)
        roster = ModelRoster(vault=parts.vault, providers=models, ceiling=settings.ceiling)
        yield _application_of(settings, parts, roster, instruments)


def _application_of(
    settings: Settings, parts: Adapters, models: ModelRoster, instruments: "Instruments | None"
) -> Application:
    intake = _intake_of(settings, parts, models)
    reaper = SnapshotReaper(parts.catalog, parts.backend, most_bytes=_room_for_snapshots(settings), now=utc_now)
    return Application(
        intake=intake,
        access=access_of(settings, parts.database),
        images=parts.images,
        agents=parts.agents,
        packs=parts.packs,
        tools=_tools_of(settings, parts, models, reaper),
        backend=parts.backend,
        reaper=reaper,
        settings=settings,
        health=Health(
            state=settings.state,
            look_at_database=partial(parts.tasks.list, limit=1),
            has_egress=parts.has_egress,
        ),
        automation=automation_of(
            settings,
            parts.database,
            intake,
            GuardedSender(replace(reach_of(settings), what="receiver of webhooks").find, upstreams=settings.upstreams),
            None if instruments is None else instruments.deliveries,
        ),
        keep_spares=parts.backend.spares.keep,
        instruments=instruments,
    )


def _intake_of(settings: Settings, parts: Adapters, models: ModelRoster) -> Intake:
    store = SqlEnvironmentStore(parts.database)
    environments = Environments(store=store, forge=parts.forge, vault=parts.vault, now=utc_now)
    return Intake(
        store=parts.tasks,
        queue=parts.queue,
        forge=parts.forge,
        vault=parts.vault,
        environments=environments,
        images=parts.images,
        catalog=parts.catalog,
        backend=parts.backend,
        exporter=parts.backend.exporter,
        check_host=replace(reach_of(settings), what="registry").check,
        agents=parts.agents,
        packs=parts.packs,
        files=parts.files,
        ceiling=settings.ceiling,
        models=models,
        host=parts.host,
        pull_requests=pull_requests_of(settings, parts.database, parts.tasks, parts.forge, parts.host),
        reviews=reviews_of(settings, parts.database, parts.tasks, environments, parts.host),
        numbers=parts.tasks,
        now=utc_now,
    )


def _tools_of(settings: Settings, parts: Adapters, models: ModelRoster, reaper: SnapshotReaper) -> Tools:
    return Tools(
        queue=parts.queue,
        images=parts.images,
        forge=parts.forge,
        vault=parts.vault,
        catalog=parts.catalog,
        backend=parts.backend,
        egress=parts.egress,
        agents=parts.agents,
        packs=parts.packs,
        files=parts.files,
        on_kept=reaper.wake,
        models=models,
        ceiling=settings.ceiling,
    )


def _room_for_snapshots(settings: Settings) -> int:
    if settings.snapshots_size is not None:
        return settings.snapshots_size
    return shutil.disk_usage(settings.state).total // _SHARE_OF_SNAPSHOTS


def state_of(settings: Settings) -> "State":
    """Return where the installation keeps what a backup is of."""
    from cloister.backup.state import State  # here: tasks need nothing of it, and start sooner
    from cloister.stores.copying import adopt_database, copy_database

    keys = {"master.key": settings.master_key_path, "record.key": settings.record_key_path}
    for name in ("next", "previous"):
        keys[f"master.key.{name}"] = settings.master_key_path.with_name(f"{settings.master_key_path.name}.{name}")
    return State(directory=settings.state, key_files=keys, copy_database=copy_database, upgrade_database=adopt_database)


async def examine_host(settings: Settings) -> Sequence[Finding]:
    """Say whether this host can run sandboxes, and what it lacks; see `doctor`."""
    return await examine(settings, find_catching_error=find_catching_error, find_volume_error=find_volume_error)
