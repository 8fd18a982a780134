import dataclasses
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from cloister.agents.command import CommandAgent
from cloister.agents.fake import FakeAgent
from cloister.environments import Environments
from cloister.forges.fake import FakeForge, FakeRepository
from cloister.intake import Intake
from cloister.model.pack import PackRecipe
from cloister.model.phase import Phase
from cloister.model.request import EnvironmentText, Request
from cloister.model.sandbox import Commit
from cloister.model.task import Shell
from cloister.model_roster import ModelRoster
from cloister.queues.fake import FakeQueue
from cloister.sandboxes.fake import FakeBackend, FakeNode
from cloister.sandboxes.fake_export import FakeSnapshotExporter, every_host
from cloister.sandboxes.fake_images import FakeImageStore
from cloister.sandboxes.fake_packs import FakeAgentPacks
from cloister.stores.fake import FakeEnvironmentStore
from cloister.stores.fake_files import FakeFileStore
from cloister.stores.fake_snapshots import FakeSnapshotCatalog
from cloister.vault.fake import FakeVault

TIP, FEATURE, WRITTEN = Commit("d" * 40), Commit("f" * 40), Commit("e" * 40)


DIFF = b"diff --git a/x b/x\n"


NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def files() -> dict[tuple[Commit, str], bytes]:
    return {}


@pytest.fixture
def node() -> FakeNode:
    return FakeNode()


@pytest.fixture
def intake(files: Mapping[tuple[Commit, str], bytes], node: FakeNode) -> Intake:
    refs = {"main": TIP, "feature": FEATURE, "cloister/t0": WRITTEN}
    project = FakeRepository(refs=refs, files=files, note="2 files are not part of it")
    queue = FakeQueue()
    forge = FakeForge({"/srv/project": project, "/srv/empty": FakeRepository(refs={})})
    vault = FakeVault()
    return Intake(
        store=queue,
        queue=queue,
        forge=forge,
        vault=vault,
        environments=Environments(store=FakeEnvironmentStore(), forge=forge, vault=vault, now=lambda: NOW),
        images=FakeImageStore(node, ["base", "slim"]),
        catalog=FakeSnapshotCatalog(),
        backend=FakeBackend(node),
        exporter=FakeSnapshotExporter(),
        check_host=every_host,
        agents={agent.name: agent for agent in AGENTS},
        packs=FakeAgentPacks([ROBOT]),
        files=FakeFileStore(),
        models=ModelRoster(vault=vault),
        now=lambda: NOW,
    )


ROBOT, CODEX = (PackRecipe(name=name, version="1", program="run", needs="") for name in ("robot", "codex"))


AGENTS = (CommandAgent(), FakeAgent(name="robot", pack=ROBOT), FakeAgent(name="codex", pack=CODEX))


SHELL_IN_SETUP = Shell(phase=Phase.SETUP, terminal="xterm-256color")


def new_request(**changes: Any) -> Request:
    return dataclasses.replace(Request(repository="/srv/project", prompt="fix the test", command="make fix"), **changes)


def environment_text(text: str) -> EnvironmentText:
    return EnvironmentText(source="env.toml", raw=text.encode())


ELSEWHERE = '[secrets]\nTOKEN = {mode="brokered",hosts=["evil.example"],header="Authorization"}\n'
