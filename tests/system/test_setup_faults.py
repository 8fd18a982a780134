"""What a script of setup can do to itself: the task fails and says how, and nobody else notices."""

import pytest

from cloister.model.task import Verdict

from .installation import QUIET, Finished, Installation


async def _fail(installation: Installation, script: str, *, more: str = "", limits: str = "") -> Finished:
    """Run a task whose setup fails; then one that needs the same image, mirror and machine, which must not."""
    environment = f"[setup]\nscript = '''\n{script}\n'''\n{more}\n[network]\nsetup = 'off'\n{limits}"
    async with installation.opened() as running:
        finished = await running.run("true", environment=environment)
        assert list(installation.paths.snapshots.iterdir()) == []
        after = await running.run("cat a.txt; ls -d /etc/passwd", environment=QUIET)
    assert after.printed("agent") == "one\n/etc/passwd\n"
    assert finished.outcome.verdict is Verdict.FAILED, finished.outcome
    assert finished.outcome.hint == (
        f"see it without an agent: cloister env check environment.toml --repo {installation.project.path}"
    )
    return finished


async def test_a_setup_that_hangs_is_told_with_what_was_still_running(installation: Installation) -> None:
    script = "echo waiting; sleep 1001 & (setsid tail -f /dev/null) & read -r _ < <(sleep 1002)"
    reason = (await _fail(installation, script, more='timeout = "2s"')).outcome.reason
    assert reason.startswith("the setup script was stopped after 2 seconds; still running: ")
    for line in ("sleep 1001", "tail -f /dev/null", "sleep 1002"):
        assert line in reason
    assert "/cloister/in/setup.sh" not in reason, "that the script itself ran is said already"
    assert reason.endswith("; it last said: waiting")


async def test_a_setup_that_removes_everything_removes_its_own_disk_alone(installation: Installation) -> None:
    reason = (await _fail(installation, "rm -rf --no-preserve-root /")).outcome.reason
    assert reason.startswith("the setup script ended with status 1; it last said: ")
    assert "rm: cannot remove" in reason


async def test_a_setup_that_prints_without_end_is_stopped(installation: Installation) -> None:
    limits = '[limits]\noutput = "1MiB"\n'
    finished = await _fail(installation, "yes it goes on | head -c 1000000000", limits=limits)
    assert finished.outcome.reason.startswith(
        "the setup script was stopped because it printed more than limits.output allows, 1.0 MiB; it last said: "
    )
    assert len(finished.printed("setup")) == 1024 * 1024


@pytest.mark.parametrize("leave", ["setsid nohup", "nohup", "(trap '' HUP TERM INT; exec"])
async def test_what_a_setup_leaves_running_is_dead_before_the_agent_starts(
    installation: Installation, leave: str
) -> None:
    closing = ")" if leave.startswith("(") else ""
    daemon = "while :; do date +%N >/opt/alive; sleep 0.02; done"
    script = f'{leave} bash -c "{daemon}"{closing} >/dev/null 2>&1 </dev/null &\nuntil [ -s /opt/alive ]; do :; done'
    environment = f"[setup]\nscript = '''\n{script}\n'''\n[network]\nsetup = 'off'\n"
    look = (
        "cp /opt/alive /opt/before; sleep 0.2; cmp /opt/alive /opt/before && echo dead; ps -eo args | grep -c '[w]hile'"
    )
    async with installation.opened() as running:
        finished = await running.run(look, environment=environment)
        twin = await running.run(f"{script}\n{look}", environment=QUIET)
    assert finished.printed("agent") == "dead\n0\n"
    assert twin.printed("agent") != "dead\n0\n", "it would have been noticed"
