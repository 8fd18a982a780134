import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from cloister.environment_file import REPOSITORY_FILE
from cloister.errors import CloisterError, EnvironmentFileError, NotFoundError, UsageError
from cloister.intake import Intake, new_task_id
from cloister.model.event import TaskAccepted
from cloister.model.network import NetworkMode
from cloister.model.phase import Phase
from cloister.model.sandbox import Commit
from cloister.model.secret import BrokerRule, KeptSecret, SecretValue
from cloister.model.task import Shell

from .conftest import CODEX, DIFF, ELSEWHERE, FEATURE, NOW, SHELL_IN_SETUP, TIP, WRITTEN, environment_text, new_request


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"prompt": ""}, UsageError, "the prompt is empty"),
        ({"prompt": " \n\t"}, UsageError, "the prompt is empty"),
        ({"prompt": "x" * (1024 * 1024 + 1)}, UsageError, "the prompt has 1048577 bytes"),
        ({"prompt": "ä" * (512 * 1024 + 1)}, UsageError, "the prompt has 1048578 bytes"),
        ({"prompt": "\udcff"}, UsageError, "not valid UTF-8"),
        ({"prompt": "fix\x00it"}, UsageError, "holds a NUL"),
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


def test_ids_sort_and_are_safe_everywhere() -> None:
    ids = [new_task_id(NOW + timedelta(milliseconds=number)) for number in range(100)]
    assert ids == sorted(ids)
    assert all(re.fullmatch(r"[0-9a-hjkmnp-tv-z]{12}", identifier) for identifier in ids)
    assert len({new_task_id(NOW) for _ in range(100)}) > 95


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
