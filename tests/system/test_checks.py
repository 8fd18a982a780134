"""The clean room: what passes there, what passes only where the agent worked, and that nothing of it is left."""

import pytest

from cloister.cli.exit import FAILED_CHECKS
from cloister.model.check import ChecksState, state_of
from cloister.model.secret import SecretValue
from cloister.model.task import Outcome, Verdict

from .installation import QUIET, Installation
from .project import Project

LIBRARY = 'mkdir -p /opt/lib && printf "answer=41\\n" >/opt/lib/answer.sh'


def environment(*checks: str, rounds: int = 0, more: str = "", setup: str = LIBRARY) -> str:
    return f"""
[setup]
script = '''{setup}'''
[network]
setup = "off"
[limits]
rounds = {rounds}
{more}
[checks]
{chr(10).join(checks)}
"""


@pytest.fixture
def project(tmp_path) -> Project:
    return Project.create(
        tmp_path / "project",
        {
            "a.txt": "one\n",
            "answer.sh": ". /opt/lib/answer.sh\necho $((answer))\n",
            ".gitignore": "ignored/\n",
            "run.sh": "echo run\n",
        },
    )


def told(outcome: Outcome) -> dict[str, tuple[bool, str]]:
    return {result.name: (result.ok, result.reason) for result in outcome.checks}


async def test_what_an_agent_left_outside_of_its_change_does_not_count(installation: Installation) -> None:
    check = 'test = "test $(bash answer.sh) = 42"'
    async with installation.opened() as running:
        patched = await running.run(
            "echo answer=42 >/opt/lib/answer.sh; mkdir ignored; touch ignored/x; echo more >>a.txt; "
            "test $(bash answer.sh) = 42",
            environment=environment(check),
        )
        assert patched.outcome.verdict is Verdict.SUCCEEDED, "the twin: where the agent worked, it passes"
        assert told(patched.outcome) == {"test": (False, "it ended with status 1")}
        (note,) = patched.outcome.checks[0].notes
        assert note.endswith(": /opt/lib/answer.sh, /workspace/project/ignored/x")
        honest = await running.run(
            "echo 'echo 42' >answer.sh; test $(bash answer.sh) = 42", environment=environment(check)
        )
        assert state_of(honest.outcome.checks) is ChecksState.PASSED
        assert honest.outcome.checks[0].notes == ("what it does is decided by files of the change: answer.sh",), (
            "an agent that changes the check's own script is told of"
        )


async def test_checks_run_in_order_without_network_secrets_or_the_agents_leavings(installation: Installation) -> None:
    checks = (
        "first = 'echo $CLOISTER_PHASE; ls -A /cloister/out /tmp; echo ${TOKEN-none} $GREETING; cat a.txt; >/opt/left'",
        "second = 'ls /opt/left; curl -sf --max-time 5 http://example.com/'",
        "third = { command = 'sleep 60', timeout = '1s' }",
        "fourth = 'exit 7'",
    )
    more = '[variables]\nGREETING = "hello"\n[secrets]\nTOKEN = { mode = "setup" }\n'
    async with installation.opened() as running:
        finished = await running.run(
            "echo two >>a.txt; touch /tmp/mine /cloister/out/mine; echo export TOKEN=forged >>~/.bashrc",
            environment=environment(*checks, more=more),
            secrets={"TOKEN": SecretValue("tk-0123456789")},
            patch=b"--- a/run.sh\n+++ b/run.sh\n@@ -1 +1 @@\n-echo run\n+echo ran\n",
        )
    assert finished.printed("check-first") == "check\n/cloister/out:\n\n/tmp:\nnone hello\none\ntwo\n"
    assert finished.printed("check-second").startswith("/opt/left\n")
    assert told(finished.outcome) == {
        "first": (True, ""),
        "second": (False, "it ended with status 22"),
        "third": (False, "it was stopped after 1 seconds"),
        "fourth": (False, "it ended with status 7"),
    }
    assert "it asked for example.com, and checks have no network" in finished.outcome.checks[1].notes
    refused = [event for event in finished.events if event["event"] == "egress_refused"]
    assert {(event["host"], event["phase"]) for event in refused} == {("example.com", "output")}
    assert "run.sh" in finished.diff, "the starting patch is a part of what is checked"


async def test_a_check_that_fails_is_given_back(installation: Installation) -> None:
    told_so = 'grep -q "check .test. failed" "$CLOISTER_PROMPT_FILE"'
    agent = f'if {told_so}; then echo "echo 42" >answer.sh; else echo x >>a.txt; fi'
    async with installation.opened() as running:
        finished = await running.run(agent, environment=environment('test = "test $(bash answer.sh) = 42"', rounds=1))
    assert state_of(finished.outcome.checks) is ChecksState.PASSED
    assert "+x" in finished.diff
    assert "+echo 42" in finished.diff
    checked = [event["ok"] for event in finished.events if event["event"] == "check_finished"]
    assert checked == [False, True]


async def test_a_check_that_passes_the_second_time_is_marked(installation: Installation) -> None:
    check = "test = 'test -e /opt/once || { touch /opt/once; exit 1; }'"
    async with installation.opened() as running:
        finished = await running.run("echo x >>a.txt", environment=environment(check))
    assert [(result.ok, result.flaky) for result in finished.outcome.checks] == [(True, True)]


async def test_services_run_for_checks_too(installation: Installation) -> None:
    server = "cd /workspace/project && exec python3 -m http.server 8123"
    services = f'[services]\nweb = {{ command = "{server}", ready = "tcp:8123" }}\n'
    check = "test = 'test \"$(curl -s http://127.0.0.1:8123/a.txt)\" = new'"
    async with installation.opened() as running:
        finished = await running.run("echo new >a.txt", environment=environment(check, more=services))
    assert state_of(finished.outcome.checks) is ChecksState.PASSED, finished.outcome.checks


@pytest.mark.parametrize(("check", "code"), [("true", 0), ("false", FAILED_CHECKS), (None, FAILED_CHECKS)])
def test_checks_can_be_required(installation: Installation, check: str | None, code: int) -> None:
    text = QUIET + (f'[limits]\nrounds = 0\n[checks]\nall = "{check}"\n' if check else "")
    done = installation.cloister(
        "run", "--require-checks", "--env", installation.write(text), "--command", "true", "do it"
    )
    assert done.code == code, done.stdout
    assert installation.cloister("run", "--env", installation.write(text), "--command", "true", "do it").code == 0
