"""A disk that its limits make full: the task fails, says which limit that was, and nobody else notices."""

from cloister.model.task import Verdict

from .installation import QUIET, Installation

LIMITS = '[limits]\ndisk = "64MiB"\ninodes = 4096\n'


async def test_a_setup_that_fills_its_disk_is_told_which_limit_that_was(installation: Installation) -> None:
    fill = "head -c 10G /dev/zero >/opt/big"
    environment = f'[setup]\nscript = "{fill}"\n[network]\nsetup = "off"\n{LIMITS}'
    async with installation.opened() as running:
        finished = await running.run("true", environment=environment)
        assert list(installation.paths.snapshots.iterdir()) == []
        assert (await running.run("cat a.txt", environment=QUIET)).printed("agent") == "one\n"
    assert finished.outcome.verdict is Verdict.FAILED
    said = "the setup script failed on a full disk: the sandbox wrote all that limits.disk allows, 64.0 MiB"
    assert finished.outcome.reason.startswith(f"{said}; it last said: ")
    assert "No space left on device" in finished.outcome.reason


async def test_a_setup_that_hides_that_is_told_too(installation: Installation) -> None:
    environment = f'[setup]\nscript = "head -c 10G /dev/zero >/opt/big || true"\n[network]\nsetup = "off"\n{LIMITS}'
    async with installation.opened() as running:
        finished = await running.run("true", environment=environment)
    assert finished.outcome.verdict is Verdict.FAILED
    assert finished.outcome.reason == "the sandbox's disk is full: all that limits.disk allows was used up"


async def test_an_agent_has_room_again_above_what_setup_left_and_fails_when_that_is_used_up(
    installation: Installation,
) -> None:
    """Cold, and warm; what it had changed by then is taken out."""
    environment = f'[setup]\nscript = "head -c 40M /dev/urandom >/opt/big"\n[network]\nsetup = "off"\n{LIMITS}'
    agent = "echo two >a.txt; head -c 40M /dev/urandom >/root/more && echo fits; df --output=size -m / | tail -1; {}"
    files = "for number in $(seq 10000); do echo >/root/$number || exit 1; done"
    async with installation.opened() as running:
        cold = await running.run(agent.format("head -c 10G /dev/zero >/tmp/big"), environment=environment)
        warm = await running.run(agent.format(files), environment=environment)
    assert "snapshot_saved" in cold.names()
    assert "snapshot_hit" in warm.names()
    for finished, words in (
        (cold, "the sandbox wrote all that limits.disk allows"),
        (warm, "the sandbox made as many files as limits.inodes allows"),
    ):
        printed, size = finished.printed("agent").split()
        assert printed == "fits"
        assert 60 <= int(size) <= 64
        assert finished.outcome.verdict is Verdict.FAILED
        assert finished.outcome.reason == f"the agent failed on a full disk: {words}"
        assert "+two" in finished.diff
        [provisioned] = [event for event in finished.events if event["event"] == "sandbox_provisioned"]
        assert provisioned["not_enforced"] == []


async def test_a_work_tree_that_does_not_fit_is_the_tasks_doing(installation: Installation) -> None:
    installation.project.commit({"large": "x" * 70_000_000})
    async with installation.opened() as running:
        finished = await running.run("true", environment=QUIET + LIMITS)
        assert (await running.run("wc -c <large", environment=QUIET)).printed("agent") == "70000000\n"
    assert finished.outcome.verdict is Verdict.FAILED
    assert finished.outcome.reason == "the sandbox's disk is full: all that limits.disk allows was used up"
