"""Stored environments at the front door: which there are, and what a task gets of them."""

import dataclasses
from datetime import UTC, datetime

import pytest

from cloister.agents.command import CommandAgent
from cloister.environment_file import REPOSITORY_FILE
from cloister.environments import Environments
from cloister.errors import CloisterError, ConflictError, EnvironmentFileError, NotFoundError, UsageError
from cloister.forges.fake import FakeForge, FakeRepository
from cloister.intake import Intake
from cloister.model.environment_source import EnvironmentSource, SourceKind
from cloister.model.event import TaskAccepted
from cloister.model.request import EnvironmentChoice, EnvironmentName, EnvironmentText, RepositoryFile, Request
from cloister.model.sandbox import Commit
from cloister.model.secret import SecretValue
from cloister.model.snapshot import SnapshotKey, SnapshotRecord
from cloister.model.stored_environment import check_stored_name, is_file_name
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

TIP, FEATURE = Commit("d" * 40), Commit("f" * 40)
NOW = datetime(2026, 3, 1, tzinfo=UTC)
WITH_SECRET = '[setup]\nscript = "make deps"\n[secrets]\nTOKEN = {}\n'
EVIL = f'name = "web"\n{WITH_SECRET}'


@pytest.fixture
def files() -> dict[tuple[Commit, str], bytes]:
    return {}


@pytest.fixture
def intake(files: dict[tuple[Commit, str], bytes]) -> Intake:
    project = FakeRepository(refs={"main": TIP, "feature": FEATURE}, files=files)
    forge, vault, queue = FakeForge({"/srv/project": project, "/srv/other": project}), FakeVault(), FakeQueue()
    node = FakeNode()
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
        agents={"command": CommandAgent()},
        packs=FakeAgentPacks(),
        files=FakeFileStore(),
        models=ModelRoster(vault=vault),
        now=lambda: NOW,
    )


@pytest.fixture
def environments(intake: Intake) -> Environments:
    return intake.environments


def text(content: str) -> EnvironmentText:
    return EnvironmentText(source="web.toml", raw=content.encode())


def request(environment: EnvironmentChoice | None = None, repository: str = "/srv/project") -> Request:
    return Request(repository=repository, prompt="fix it", command="make fix", environment=environment)


WEB = EnvironmentName(name="web")


@pytest.mark.parametrize(
    "name",
    [
        *("", " ", "a b", "a/b", "./web", "/web", "~web", ".web", "-web", "web.toml", "web.TOML", "https://x", "a:b"),
        *("a\nb", "ä", "a\u202eb", "web\n", "x" * 129),
    ],
)
async def test_a_name_that_could_be_something_else_is_refused(environments: Environments, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be stored"):
        await environments.create(name, text(""))
    assert await environments.list() == []


@pytest.mark.parametrize("name", ["web", "3", "Web-2.x_y+z", "environment", "x" * 128])
def test_what_can_be_a_name_never_means_a_file(name: str) -> None:
    assert check_stored_name(name) == name
    assert not is_file_name(name)
    assert is_file_name(f"./{name}") and is_file_name(f"{name}.toml")


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (text("imge = 1"), EnvironmentFileError, "web.toml, line 1: unknown key `imge`"),
        (text("= no toml"), EnvironmentFileError, "web.toml, line 1, column 1: not TOML"),
        (text("#" * 300_000), EnvironmentFileError, "web.toml: is larger than 256 KiB"),
        (EnvironmentText(source="web.toml", raw=b"\xff"), EnvironmentFileError, "byte 0 is not UTF-8"),
        (text('name = "api"'), EnvironmentFileError, "names itself 'api', and is to be stored as 'web'"),
        (text('[limits]\ntime = "8000h"'), UsageError, "this machine gives at most"),
        (RepositoryFile(repository="/srv/project"), NotFoundError, f"has no {REPOSITORY_FILE} at dddddddddddd"),
        (RepositoryFile(repository="/srv/project", ref="none"), NotFoundError, "none"),
        (RepositoryFile(repository="/srv/project", ref="--x"), UsageError, "not a branch"),
        (RepositoryFile(repository="ext::sh -c x"), UsageError, "address"),
    ],
)
async def test_a_text_that_is_none_is_not_stored(
    environments: Environments, content: EnvironmentText | RepositoryFile, error: type[CloisterError], message: str
) -> None:
    with pytest.raises(error) as caught:
        await environments.create("web", content)
    assert message in caught.value.message
    assert await environments.list() == []
    await environments.create("web", text("# good"))
    with pytest.raises(error):
        await environments.edit("web", content)
    assert (await environments.get("web")).text == "# good"


async def test_a_name_is_created_once_and_edited_only_when_it_is_there(environments: Environments) -> None:
    with pytest.raises(NotFoundError, match="none is stored") as caught:
        await environments.edit("web", text(""))
    assert "cloister env create web" in (caught.value.hint or "")
    await environments.create("web", text("# one"))
    with pytest.raises(ConflictError, match="already, in version 1") as conflict:
        await environments.create("web", text("# two"))
    assert "cloister env edit web" in (conflict.value.hint or "")
    for call in (environments.get("wbe"), environments.versions("wbe"), environments.delete("wbe", with_secrets=True)):
        with pytest.raises(NotFoundError, match="no environment 'wbe'; stored are: web"):
            await call
    with pytest.raises(NotFoundError, match="no version 2; the newest is 1"):
        await environments.get("web", 2)


async def test_an_edit_that_did_not_see_the_newest_version_is_refused(environments: Environments) -> None:
    await environments.create("web", text("# one"))
    await environments.edit("web", text("# two"), base=1)
    with pytest.raises(ConflictError, match=r"version 2 of .* \(from web.toml\) follows version 1"):
        await environments.edit("web", text("# mine"), base=1)
    same = await environments.edit("web", text("# two"))
    assert same.stored.version == 2, "a text that changes nothing is no version"
    assert (await environments.edit("web", text("# three"))).stored.version == 3


async def test_the_file_of_a_commit_is_stored_and_says_where_it_came_from(
    environments: Environments, files: dict[tuple[Commit, str], bytes]
) -> None:
    files[FEATURE, REPOSITORY_FILE] = b'name = "web"\nimage = "slim"\n[secrets]\nTOKEN = {}\n'
    report = await environments.create("web", RepositoryFile(repository="/srv/project", ref="feature"))
    assert report.stored.origin == f"{REPOSITORY_FILE} at ffffffffffff of /srv/project"
    assert report.environment is not None and report.environment.image == "slim"
    assert report.without_value == ("TOKEN",), "whoever stores it learns what it asks for"


async def test_a_task_keeps_the_version_it_was_accepted_with(intake: Intake, environments: Environments) -> None:
    await environments.create("web", text('image = "base"'))
    first = await intake.submit(request(WEB))
    await environments.edit("web", text('image = "slim"'))
    second = await intake.submit(request(WEB, "/srv/other"))
    older = await intake.submit(request(EnvironmentName(name="web", version=1)))
    tasks = [(await intake.task(task.id)).task for task in (first, second, older)]
    assert [(task.environment_version, task.environment.image) for task in tasks] == [
        (1, "base"),
        (2, "slim"),
        (1, "base"),
    ]
    assert {task.environment.name for task in tasks} == {"web"}, "also for another repository"
    (accepted,) = [event.event async for event in intake.events(second.id)]
    assert isinstance(accepted, TaskAccepted) and accepted.environment_version == 2


async def test_every_task_says_where_its_environment_came_from(
    intake: Intake, files: dict[tuple[Commit, str], bytes]
) -> None:
    assert (await intake.submit(request())).environment_source == EnvironmentSource(kind=SourceKind.DEFAULTS)
    files[TIP, REPOSITORY_FILE] = b'image = "slim"\n'
    own = EnvironmentSource(kind=SourceKind.REPOSITORY, file=REPOSITORY_FILE, commit=TIP)
    assert (await intake.submit(request())).environment_source == own
    named = EnvironmentText(source="caf\udce9.toml", raw=b"")
    file = EnvironmentSource(kind=SourceKind.FILE, file="caf?.toml")
    assert (await intake.submit(request(named))).environment_source == file


async def test_a_name_that_is_not_stored_makes_no_task(intake: Intake) -> None:
    for ask in (
        intake.submit(request(WEB)),
        intake.repositories.preview("/srv/project", None, WEB),
        intake.repositories.why("/srv/project", None, WEB),
    ):
        with pytest.raises(NotFoundError, match="there is no environment 'web'") as caught:
            await ask
        assert "./web" in (caught.value.hint or "")
    assert await intake.tasks() == []


async def test_a_repositorys_file_does_not_get_the_secrets_of_a_stored_environment(
    intake: Intake, environments: Environments, files: dict[tuple[Commit, str], bytes]
) -> None:
    """The twin: whoever chooses the stored environment gets them, on the same commit."""
    await environments.create("web", text(WITH_SECRET))
    await intake.set_secret("web", "TOKEN", "hunter2")
    files[TIP, REPOSITORY_FILE] = EVIL.encode()
    with pytest.raises(UsageError, match="asks for the secrets of environment 'web'") as caught:
        await intake.submit(request())
    assert "--env web" in (caught.value.hint or "")
    assert await intake.tasks() == []
    task = await intake.submit(request(WEB))
    assert (await intake.vault.open_for(task)).values == {"TOKEN": SecretValue("hunter2")}


async def test_a_stored_environment_says_where_a_given_secret_goes(intake: Intake, environments: Environments) -> None:
    brokered = '[secrets]\nTOKEN = {mode="brokered",hosts=["a.example"],header="Authorization"}\n'
    await environments.create("web", text(brokered))
    given = dataclasses.replace(request(WEB), secrets={"TOKEN": SecretValue("hunter2")})
    await intake.submit(given)


async def test_a_deleted_environment_leaves_no_secret_for_the_next_of_its_name(
    intake: Intake, environments: Environments
) -> None:
    await environments.create("web", text(WITH_SECRET))
    await intake.set_secret("web", "TOKEN", "hunter2")
    task = await intake.submit(request(WEB))
    record = SnapshotRecord(
        key=SnapshotKey("k"),
        environment="web",
        repository="/srv/project",
        commit=TIP,
        parts={},
        created_at=NOW,
        expires_at=NOW,
    )
    await intake.catalog.add(record)
    with pytest.raises(ConflictError, match="has secrets: TOKEN") as caught:
        await intake.delete_environment("web")
    assert "--with-secrets" in (caught.value.hint or "")
    assert [stored.name for stored in await environments.list()] == ["web"]
    assert (len(await intake.secrets("web")), len(await intake.snapshots.list())) == (1, 1), "a refusal changes nothing"
    assert await intake.delete_environment("web", with_secrets=True) == (["TOKEN"], 1)
    assert (await environments.list(), await intake.secrets("web"), await intake.snapshots.list()) == ([], [], [])
    with pytest.raises(NotFoundError, match="was deleted at 2026-03-01"):
        await intake.submit(request(WEB))
    assert (await intake.task(task.id)).task.environment_version == 1
    assert (await environments.get("web", 1)).text == WITH_SECRET
    again = await environments.create("web", text(WITH_SECRET))
    assert (again.stored.version, again.without_value) == (2, ("TOKEN",))


async def test_one_without_secrets_and_snapshots_is_just_deleted(intake: Intake, environments: Environments) -> None:
    await environments.create("web", text(""))
    assert await intake.delete_environment("web") == ([], 0)


async def test_a_text_that_is_not_understood_any_more_is_shown_and_not_used(
    intake: Intake, environments: Environments
) -> None:
    await environments.store.add("web", "former = 1", origin="x", created_at=NOW, after=None)
    report = await environments.describe("web")
    assert (report.environment, report.stored.text) == (None, "former = 1")
    assert "environment web, version 1, line 1: unknown key `former`" in report.problem
    with pytest.raises(EnvironmentFileError) as caught:
        await intake.submit(request(WEB))
    assert "cloister env edit web" in (caught.value.hint or "")
