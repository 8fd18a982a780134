import dataclasses
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cloister.agents.command import CommandAgent
from cloister.agents.fake import FakeAgent
from cloister.environment_file import REPOSITORY_FILE
from cloister.environments import Environments
from cloister.errors import CloisterError, ConflictError, EnvironmentFileError, NotFoundError, UsageError
from cloister.forges.fake import FakeForge, FakeRepository
from cloister.intake import Intake, new_task_id
from cloister.model.choice import best_attempt
from cloister.model.environment import Limits
from cloister.model.event import TaskAccepted
from cloister.model.network import NetworkMode
from cloister.model.pack import PackRecipe
from cloister.model.phase import Phase
from cloister.model.request import EnvironmentText, Request
from cloister.model.sandbox import Change, Commit, DiffStats, SandboxName, SandboxSpec
from cloister.model.secret import BrokerRule, KeptSecret, SecretValue
from cloister.model.snapshot import SnapshotKey, SnapshotRecord
from cloister.model.task import AttemptId, AttemptStatus, Outcome, Shell, TaskState, TaskStatus, Verdict
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


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"prompt": ""}, UsageError, "the prompt is empty"),
        ({"prompt": " \n\t"}, UsageError, "the prompt is empty"),
        ({"prompt": "x" * (1024 * 1024 + 1)}, UsageError, "the prompt has 1048577 bytes"),
        ({"prompt": "ä" * (512 * 1024 + 1)}, UsageError, "the prompt has 1048578 bytes"),
        ({"prompt": "\udcff"}, UsageError, "not valid UTF-8"),
        ({"attempts": 0}, UsageError, "1 to 4 attempts, not 0"),
        ({"attempts": 5}, UsageError, "1 to 4 attempts, not 5"),
        ({"repository": "/srv/none"}, NotFoundError, "/srv/none"),
        ({"repository": "/srv/empty"}, NotFoundError, "no commit"),
        ({"repository": "ext::sh -c x"}, UsageError, "address"),
        ({"repository": "https://u:hunter2@host/x"}, UsageError, "user name, password or token"),
        ({"ref": "none"}, NotFoundError, "none"),
        ({"ref": ""}, UsageError, "not a branch, tag or commit"),
        ({"ref": "--upload-pack=x"}, UsageError, "not a branch, tag or commit"),
        ({"ref": "a\nb"}, UsageError, "not a branch, tag or commit"),
        ({"environment": environment_text("[limits]\ncpu = 0\n")}, EnvironmentFileError, "env.toml, line 2"),
        ({"environment": environment_text('image = "bse"\n')}, NotFoundError, "no image 'bse'; known: base, slim"),
        ({"environment": environment_text("[secrets]\nA = {}\n")}, NotFoundError, "secret A of environment"),
        ({"variables": {"A-B": "x"}}, UsageError, "'A-B' is not a variable name"),
        ({"secrets": {"A-B": SecretValue("hunter2")}}, UsageError, "'A-B' is not a variable name"),
        ({"secrets": {"TOKEN": SecretValue("short")}}, UsageError, "TOKEN"),
        ({"secrets": {"A": SecretValue("hunter2")}, "variables": {"A": "x"}}, UsageError, "A is a variable"),
        ({"allow": ("com",)}, UsageError, "too broad"),
        ({"internet": NetworkMode.OFF, "allow": ("a.example",)}, UsageError, "the internet is off"),
        ({"patch": b""}, UsageError, "the patch is not a diff"),
        ({"patch": b"hello\n"}, UsageError, "the patch is not a diff"),
        ({"patch": DIFF * 2_000_000}, UsageError, "at most 32 MiB"),
        ({"command": " "}, UsageError, "the command line is empty"),
        ({"command": "a\x00b"}, UsageError, "NUL"),
        ({"agent": "robot"}, UsageError, "agent 'robot' takes no command line"),
        ({"agent": "command", "command": None}, UsageError, "needs a command line"),
        ({"agent": "nope", "command": None}, NotFoundError, "no agent 'nope'; known: codex, command, robot"),
        ({"command": None}, NotFoundError, "agent 'codex' is not installed here"),
        ({"shell": SHELL_IN_SETUP}, UsageError, "without an agent, a command or a patch"),
        ({"shell": SHELL_IN_SETUP, "command": None, "attempts": 2}, UsageError, "a shell is one attempt"),
        ({"shell": Shell(phase=Phase.OUTPUT, terminal="xterm"), "command": None}, UsageError, "setup or agent"),
        ({"shell": Shell(phase=Phase.SETUP, terminal="x\ny"), "command": None}, UsageError, "no kind of terminal"),
    ],
)
async def test_a_wrong_request_makes_nothing(
    intake: Intake, changes: Mapping[str, Any], error: type[CloisterError], message: str
) -> None:
    with pytest.raises(error) as caught:
        await intake.submit(new_request(**changes))
    assert message in caught.value.message
    assert "hunter2" not in f"{caught.value.message} {caught.value.hint}"
    assert await intake.tasks() == []


@pytest.mark.parametrize("limit", ['memory = "60000GiB"', 'output = "1000GiB"', "pids = 4000000", 'time = "8000h"'])
async def test_a_repository_cannot_give_itself_the_whole_machine(intake: Intake, limit: str) -> None:
    with pytest.raises(UsageError, match="this machine gives at most"):
        await intake.submit(new_request(environment=environment_text(f"[limits]\n{limit}\n")))
    assert await intake.tasks() == []


async def test_without_an_agent_the_way_out_is_named(intake: Intake) -> None:
    with pytest.raises(NotFoundError) as caught:
        await intake.submit(new_request(agent="nope", command=None))
    assert "--command" in (caught.value.hint or "")


async def test_the_default_agent_is_installed_first(intake: Intake) -> None:
    with pytest.raises(NotFoundError) as caught:
        await intake.submit(new_request(command=None))
    assert caught.value.hint == "install it once: cloister agent install codex"
    await intake.packs.install(CODEX, lambda _: None)
    assert (await intake.submit(new_request(command=None))).agent == "codex"


async def test_a_missing_secret_names_the_command_that_gives_it(intake: Intake) -> None:
    with pytest.raises(NotFoundError) as caught:
        await intake.submit(new_request(environment=environment_text('name = "web"\n[secrets]\nA = {}\n')))
    assert "cloister secret set web A" in (caught.value.hint or "")


async def test_a_repository_does_not_choose_a_vault(intake: Intake, files: dict[tuple[Commit, str], bytes]) -> None:
    files[TIP, REPOSITORY_FILE] = b'name = "web"\n[secrets]\nA = {}\n'
    await intake.set_secret("web", "A", "hunter2")
    with pytest.raises(UsageError, match="asks for the secrets of environment 'web'") as caught:
        await intake.submit(new_request())
    assert f"--env {REPOSITORY_FILE}" in (caught.value.hint or "")
    assert "cloister secret set /srv/project A" in (caught.value.hint or "")


async def test_a_request_becomes_a_task(intake: Intake) -> None:
    task = await intake.submit(new_request(ref="feature", patch=DIFF, attempts=2, use_cache=False))
    assert (task.revision.commit, task.revision.default_commit) == (FEATURE, TIP)
    assert (task.agent, task.command, task.patch) == ("command", "make fix", DIFF)
    assert (task.use_cache, task.attempts, task.accepted_at) == (False, 2, NOW)
    assert task.environment.name == "/srv/project"
    status = await intake.task(task.id[:9])
    assert status.task == task
    assert len(status.attempts) == 2


async def test_the_log_begins_with_what_is_left_out(intake: Intake) -> None:
    task = await intake.submit(new_request())
    (first,) = [event async for event in intake.events(task.id)]
    accepted = first.event
    assert isinstance(accepted, TaskAccepted)
    assert accepted.notes == ("2 files are not part of it",)


async def test_the_environment_is_read_from_the_base_commit(
    intake: Intake, files: dict[tuple[Commit, str], bytes]
) -> None:
    files[FEATURE, REPOSITORY_FILE] = b'name = "web"\nimage = "slim"\n'
    assert (await intake.submit(new_request())).environment.name == "/srv/project"
    environment = (await intake.submit(new_request(ref="feature"))).environment
    assert (environment.name, environment.image) == ("web", "slim")


async def test_a_bad_file_of_the_repository_is_named_with_its_commit(
    intake: Intake, files: dict[tuple[Commit, str], bytes]
) -> None:
    files[TIP, REPOSITORY_FILE] = b"\nimge = 1\n"
    with pytest.raises(EnvironmentFileError, match=f"{REPOSITORY_FILE} at dddddddddddd, line 2: unknown key `imge`"):
        await intake.submit(new_request())


async def test_a_file_of_the_request_wins(intake: Intake, files: dict[tuple[Commit, str], bytes]) -> None:
    files[TIP, REPOSITORY_FILE] = b"this is no TOML"
    task = await intake.submit(new_request(environment=environment_text('name = "mine"\n')))
    assert task.environment.name == "mine"


async def test_secrets_are_sealed_and_need_no_value_in_the_vault(intake: Intake) -> None:
    given = new_request(environment=environment_text("[secrets]\nA = {}\n"), secrets={"A": SecretValue("hunter2")})
    task = await intake.submit(given)
    assert task.sealed_secrets
    assert "hunter2" not in repr(task)
    assert "hunter2" not in repr(given)


async def test_an_installed_agent_needs_no_command(intake: Intake) -> None:
    task = await intake.submit(new_request(agent="robot", command=None))
    assert (task.agent, task.command) == ("robot", None)


async def test_a_shell_needs_no_agent(intake: Intake) -> None:
    shell = await intake.submit(new_request(shell=SHELL_IN_SETUP, command=None, environment=environment_text("")))
    assert (shell.agent, shell.shell) == ("shell", SHELL_IN_SETUP)


async def test_a_shell_says_that_it_starts_no_services(intake: Intake) -> None:
    text = environment_text('[services]\ndb = "redis-server"\n')
    for shell, expected in ((SHELL_IN_SETUP, True), (None, False)):
        command = "true" if shell is None else None
        task = await intake.submit(new_request(shell=shell, command=command, environment=text))
        accepted = await anext(aiter(intake.events(task.id)))
        assert ("starts no services" in str(accepted)) is expected


async def test_secrets_are_kept_by_environment(intake: Intake) -> None:
    await intake.set_secret("web", "TOKEN", "hunter2")
    assert await intake.secrets("web") == [KeptSecret(name="TOKEN")]
    assert await intake.secrets("other") == []
    await intake.remove_secret("web", "TOKEN")
    with pytest.raises(NotFoundError):
        await intake.remove_secret("web", "TOKEN")


@pytest.mark.parametrize("host", ["co.uk", "github.io", "com", "10.0.0.1", "*.example.com"])
async def test_a_host_that_anyone_can_be_gets_no_secret(intake: Intake, host: str) -> None:
    with pytest.raises(UsageError):
        await intake.set_secret("web", "TOKEN", "hunter2", BrokerRule(hosts=(host,), header="Authorization"))
    assert await intake.secrets("web") == []


ELSEWHERE = '[secrets]\nTOKEN = {mode="brokered",hosts=["evil.example"],header="Authorization"}\n'


async def test_a_file_cannot_send_a_kept_secret_elsewhere(intake: Intake) -> None:
    await intake.set_secret(
        "/srv/project", "TOKEN", "hunter2", BrokerRule(hosts=("a.example",), header="Authorization")
    )
    with pytest.raises(UsageError, match=r"TOKEN with the host evil\.example"):
        await intake.submit(new_request(environment=environment_text(ELSEWHERE)))
    assert await intake.tasks() == []


async def test_a_repositorys_own_file_does_not_say_where_a_given_secret_goes(
    intake: Intake, files: dict[tuple[Commit, str], bytes]
) -> None:
    files[TIP, ".cloister/environment.toml"] = ELSEWHERE.encode()
    given = {"TOKEN": SecretValue("hunter2")}
    with pytest.raises(UsageError, match="where the value of TOKEN shall be sent"):
        await intake.submit(new_request(secrets=given))
    assert await intake.tasks() == []
    await intake.submit(new_request(secrets=given, environment=environment_text(ELSEWHERE)))
    with pytest.raises(UsageError, match="too broad"):
        wrong = environment_text(ELSEWHERE.replace("evil.example", "co.uk"))
        await intake.submit(new_request(secrets=given, environment=wrong))


@pytest.mark.parametrize(("environment", "name"), [("", "A"), ("a\nb", "A"), ("web", "A B"), ("web", "HOME")])
async def test_secrets_need_names(intake: Intake, environment: str, name: str) -> None:
    with pytest.raises(UsageError):
        await intake.set_secret(environment, name, "hunter2")


async def _keep(intake: Intake, node: FakeNode, key: str, *, environment: str = "web") -> None:
    node.snapshots.add(SnapshotKey(key))
    await intake.catalog.add(
        SnapshotRecord(
            key=SnapshotKey(key),
            environment=environment,
            repository="/srv/project",
            commit=TIP,
            parts={},
            created_at=NOW,
            expires_at=NOW + timedelta(hours=1),
        )
    )


async def test_a_reset_cache_gives_no_snapshot_to_a_new_task_and_takes_none_from_a_running_one(
    intake: Intake, node: FakeNode
) -> None:
    for key, environment in (("free", "web"), ("used", "web"), ("other", "api")):
        await _keep(intake, node, key, environment=environment)
    image = await intake.images.ensure("base")
    spec = SandboxSpec(
        image=image, snapshot=SnapshotKey("used"), directory="x", mirror=Path("/mirrors/x"), limits=Limits()
    )
    await intake.backend.create(SandboxName("running"), spec)
    with pytest.raises(NotFoundError, match="those that have some: api, web"):
        await intake.snapshots.reset("wbe")
    assert node.snapshots == {"free", "used", "other"}
    assert await intake.snapshots.reset("web") == 2
    assert node.snapshots == {"used", "other"}
    assert {record.key: record.expires_at > NOW for record in await intake.snapshots.list()} == {
        "used": False,
        "other": True,
    }


async def test_snapshots_are_removed_by_the_beginning_of_their_key(intake: Intake, node: FakeNode) -> None:
    for key in ("abc1", "abd2"):
        await _keep(intake, node, key)
    for wrong, error in (("", NotFoundError), ("x", NotFoundError), ("ab", ConflictError)):
        with pytest.raises(error):
            await intake.snapshots.remove(wrong)
    assert await intake.snapshots.remove("abc") == "abc1"
    assert node.snapshots == {"abd2"}
    assert [record.key for record in await intake.snapshots.list()] == ["abd2"]


async def test_there_is_no_change_before_the_end(intake: Intake) -> None:
    task = await intake.submit(new_request())
    with pytest.raises(ConflictError, match="there is no change yet"):
        await intake.results.change(task.id)
    with pytest.raises(NotFoundError, match="no number 2"):
        await intake.results.change(task.id, attempt=2)
    await intake.cancel(task.id)
    with pytest.raises(ConflictError, match="left no change"):
        await intake.results.change(task.id)


def test_ids_sort_and_are_safe_everywhere() -> None:
    ids = [new_task_id(NOW + timedelta(milliseconds=number)) for number in range(100)]
    assert ids == sorted(ids)
    assert all(re.fullmatch(r"[0-9a-hjkmnp-tv-z]{12}", identifier) for identifier in ids)
    assert len({new_task_id(NOW) for _ in range(100)}) > 95


def test_the_best_attempt_is_shown_first(new_task: Any) -> None:
    change = Change(
        base=TIP, commit=FEATURE, repository=Path("/m"), diff=DIFF, stats=DiffStats(files=1, added=0, removed=0)
    )

    def attempt(number: int, outcome: Outcome | None) -> AttemptStatus:
        state = TaskState.FINISHED if outcome else TaskState.RUNNING
        return AttemptStatus(attempt=AttemptId(f"t1-{number}"), number=number, state=state, outcome=outcome)

    def best(*outcomes: Outcome | None) -> int:
        attempts = tuple(attempt(number, outcome) for number, outcome in enumerate(outcomes, 1))
        status = TaskStatus(task=new_task(), state=TaskState.RUNNING, verdict=None, finished_at=None, attempts=attempts)
        return best_attempt(status).number

    failed, changed = Outcome(verdict=Verdict.FAILED), Outcome(verdict=Verdict.FAILED, change=change)
    succeeded = Outcome(verdict=Verdict.SUCCEEDED, change=change)
    assert best(None, None) == 1
    assert best(None, failed, changed) == 3
    assert best(failed, changed, succeeded, succeeded) == 3


async def test_a_preview_says_what_would_run_and_accepts_nothing(
    intake: Intake, files: dict[tuple[Commit, str], bytes]
) -> None:
    files[FEATURE, "package.json"] = b'{"dependencies": {"a": "1"}}'
    preview = await intake.repositories.preview("/srv/project", "feature", None)
    assert (preview.environment.name, preview.revision.commit) == ("/srv/project", FEATURE)
    assert [step.tool for step in preview.needs.scripts.plan.steps] == ["npm"]
    assert preview.needs.scripts.differing == ("package.json",)
    own = await intake.repositories.preview(
        "/srv/project", "feature", environment_text('[setup]\nscript = "make deps"\n')
    )
    assert (own.needs.scripts.setup, own.needs.scripts.plan.steps) == ("make deps", ())
    with pytest.raises(NotFoundError):
        await intake.repositories.preview("/srv/project", "none", None)
    assert await intake.tasks() == []


async def test_an_import_reads_the_asked_commit_and_accepts_nothing(
    intake: Intake, files: dict[tuple[Commit, str], bytes]
) -> None:
    files[TIP, ".devcontainer.json"] = b'{"postCreateCommand": "make tip"}'
    files[FEATURE, ".devcontainer.json"] = b'{"containerEnv": {"ROOT": "${containerWorkspaceFolder}"}}'
    files[FEATURE, ".devcontainer/web/devcontainer.json"] = b'{"postCreateCommand": "make web"}'
    assert "make tip" in (await intake.repositories.import_environment("/srv/project", None)).text
    imported = await intake.repositories.import_environment("/srv/project", "feature")
    assert 'ROOT = "/workspace/project"' in imported.text
    assert imported.others == (".devcontainer/web/devcontainer.json",)
    chosen = await intake.repositories.import_environment("/srv/project", "feature", imported.others[0])
    assert "make web" in chosen.text and chosen.others == (".devcontainer.json",)
    assert await intake.tasks() == []


@pytest.mark.parametrize("path", [None, ".devcontainer.json", "README", "../README", ".cursor/environment.json"])
async def test_an_import_of_what_is_not_there_names_what_is(
    intake: Intake, files: dict[tuple[Commit, str], bytes], path: str | None
) -> None:
    files[TIP, "README"] = b"x"
    if path is not None:
        files[TIP, ".openhands/setup.sh"] = b"make"
    with pytest.raises(NotFoundError, match="nothing to import at main") as caught:
        await intake.repositories.import_environment("/srv/project", None, path)
    assert (path or "copilot-setup-steps.yml") in str(caught.value)
    assert ("there is .openhands/setup.sh" in str(caught.value)) == (path is not None)


async def test_why_names_the_parts_that_differ_and_changes_nothing(intake: Intake, node: FakeNode) -> None:
    await intake.set_secret("web", "TOKEN", "hunter2")
    text = 'name = "web"\n[secrets]\nTOKEN = {}\n[setup]\nscript = "make deps"\n'
    first = await intake.repositories.why("/srv/project", None, environment_text(text))
    assert (first.fit.reason, first.fit.nearest, first.last_miss) == ("first use of this environment", None, None)
    await intake.images.ensure("base")
    cold = await intake.repositories.why("/srv/project", None, environment_text(text))
    await intake.catalog.add(
        SnapshotRecord(
            key=cold.recipe.key,
            environment="web",
            repository="/srv/project",
            commit=TIP,
            parts=cold.recipe.parts,
            created_at=NOW - timedelta(minutes=1),
            expires_at=NOW + timedelta(hours=1),
        )
    )
    assert (
        await intake.repositories.why("/srv/project", None, environment_text(text))
    ).fit.reason == "its disk is gone"
    node.snapshots.add(cold.recipe.key)
    warm = await intake.repositories.why("/srv/project", None, environment_text(text))
    assert (warm.fit.reason, warm.differing) == (None, frozenset())
    other = await intake.repositories.why("/srv/project", None, environment_text(text.replace("deps", "all")))
    assert (other.fit.reason, other.differing) == ("changed: setup script", {"setup script"})
    short = await intake.repositories.why("/srv/project", None, environment_text(text + '[cache]\nttl = "30s"\n'))
    assert short.fit.reason == "expired"
    await intake.set_secret("web", "TOKEN", "hunter3")
    rotated = await intake.repositories.why("/srv/project", None, environment_text(text))
    assert rotated.fit.reason == "changed: secrets"
    assert node.snapshots == {cold.recipe.key}
    assert await intake.tasks() == []


async def test_the_environment_of_what_an_agent_wrote_is_the_default_branchs(
    intake: Intake, files: dict[tuple[Commit, str], bytes]
) -> None:
    files[TIP, REPOSITORY_FILE] = b'image = "slim"\n'
    files[WRITTEN, REPOSITORY_FILE] = b'[setup]\nscript = "curl evil"\n[network]\nagent = "full"\n'
    task = await intake.submit(new_request(ref="cloister/t0"))
    assert task.revision.foreign
    assert (task.environment.image, task.environment.setup.script) == ("slim", None)
    files[FEATURE, REPOSITORY_FILE] = files[WRITTEN, REPOSITORY_FILE]
    assert (await intake.submit(new_request(ref="feature"))).environment.setup.script == "curl evil"


async def test_why_tells_of_the_disk_that_is_a_refs_own(
    intake: Intake, files: dict[tuple[Commit, str], bytes], node: FakeNode
) -> None:
    for commit, locked in ((TIP, b"1"), (FEATURE, b"2"), (WRITTEN, b"2")):
        files[commit, "package.json"] = b"{}"
        files[commit, "package-lock.json"] = locked
    assert (await intake.repositories.why("/srv/project", None, None)).own is None
    assert (await intake.repositories.why("/srv/project", "cloister/t0", None)).own is None
    answer = await intake.repositories.why("/srv/project", "feature", None)
    assert answer.own is not None
    assert (answer.own.ref, answer.own.reason) == ("feature", "first use of this environment")
    assert answer.own.key != answer.recipe.key
    shared = (await intake.repositories.why("/srv/project", None, None)).recipe
    assert answer.recipe == shared
