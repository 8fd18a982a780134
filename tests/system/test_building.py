"""Attempts that need the same disk, which nobody has kept yet."""

import shutil
import signal
from pathlib import Path

import anyio

from cloister.model.secret import SecretValue
from cloister.model.task import Verdict

from .installation import QUIET, Installation, printed

MARKED = QUIET.replace("automatic = false", 'automatic = false\nscript = "date +%N >/root/made; sleep 0.5"')
HELD = QUIET.replace("automatic = false", 'automatic = false\nscript = "echo up; sleep 600"')


async def test_ten_attempts_on_a_cold_environment_run_setup_once(installation: Installation) -> None:
    async with installation.opened(settings={"slots": 10}) as running:
        tasks = [await running.submit("cat /root/made", environment=MARKED) for _ in range(10)]
        await running.application.work(until_idle=True)
        finished = [await running.finished(task) for task in tasks]
    assert {each.outcome.verdict for each in finished} == {Verdict.SUCCEEDED}
    names = [each.names() for each in finished]
    assert sum("snapshot_saved" in each for each in names) == 1
    assert sum("snapshot_hit" in each for each in names) == 9
    assert any("snapshot_awaited" in each for each in names)
    assert len({each.printed("agent") for each in finished}) == 1, "all stand on the disk of the one setup"
    assert not list((installation.state / "claims").iterdir())


def test_when_the_process_that_makes_a_disk_is_killed_the_next_one_makes_it(installation: Installation) -> None:
    with installation.started(*installation.task(environment=HELD)) as first:
        first.until("output", text="up")
        with installation.started(*installation.task(environment=HELD)) as second:
            second.until("snapshot_awaited")
            first.kill()
            second.until("snapshot_missed")
            second.until("output", text="up")
            second.process.send_signal(signal.SIGINT)
            assert second.end().code == 4
    assert installation.cloister("clean").code == 0
    left = Path(installation.state / "claims")
    assert not list(left.iterdir())


def _layer(place: Path) -> None:
    shutil.rmtree(place / "layers" / "0")


DAMAGES = {
    "layer 0 is missing": _layer,
    "its marker cannot be read": lambda place: (place / "snapshot.json").write_text('{"image": "'),
    "its git directory is missing": lambda place: shutil.rmtree(place / "git"),
}


def test_a_damaged_disk_is_told_of_and_made_anew(installation: Installation) -> None:
    task = installation.task("cat /root/made", environment=MARKED)
    former = printed(installation.cloister(*task).events)
    for told, damage in DAMAGES.items():
        [place] = installation.snapshots
        damage(place)
        ran = installation.cloister(*task)
        assert ran.code == 0, ran
        [missed] = [event for event in ran.events if event["event"] == "snapshot_missed"]
        assert missed["reason"] == f"its disk is damaged: {told}"
        assert printed(ran.events) != former
        former = printed(ran.events)
    again = installation.cloister(*task).events
    assert "snapshot_hit" in [event["event"] for event in again]
    assert printed(again) == former


async def test_the_disk_used_longest_ago_makes_room_and_one_in_use_does_not(installation: Installation) -> None:
    def environment(name: str) -> str:
        script = f"head -c 3000000 /dev/urandom >/root/{name}"
        return f'name = "{name}"\n' + QUIET.replace("automatic = false", f'automatic = false\nscript = "{script}"')

    async with installation.opened(settings={"snapshots_size": "9MiB"}) as running:
        catalog = running.application.tools.catalog

        async def kept() -> set[str]:
            with anyio.fail_after(10):
                while not await running.application.reaper.reap():  # noqa: ASYNC110
                    await anyio.sleep(0.01)
            return {record.environment for record in await catalog.list() if record.attempt is None}

        for name in ("a", "b", "a"):  # the last one is a hit
            await running.run("sleep 0.1", environment=environment(name))
        assert await kept() == {"a", "b"}
        records = {record.environment: record for record in await catalog.list() if record.attempt is None}
        assert records["a"].used_at > records["b"].used_at
        await running.run("sleep 0.1", environment=environment("c"))
        assert await kept() == {"a", "c"}


LOCKED = """
[setup]
automatic = false
script = "cat poetry.lock >>/root/locked; echo ${TOKEN:-no token} >>/root/locked"
residue = "allow"
[secrets]
TOKEN = { mode = "setup" }
"""
SHOW = "cat /root/locked"


async def test_what_a_ref_locks_is_kept_for_that_ref_alone_and_an_agents_branch_gets_no_secret(
    installation: Installation,
) -> None:
    project = installation.project
    project.commit({"poetry.lock": "main\n"})
    for branch, locked in (("feature", "feature\n"), ("other", "feature\n"), ("cloister/t0", "agent\n")):
        project.git("checkout", "--quiet", "-b", branch, "main")
        project.commit({"poetry.lock": locked})
    project.git("checkout", "--quiet", "main")
    async with installation.opened() as running:
        secret = {"TOKEN": SecretValue("s3cr3t-0123456789")}

        async def run(ref: str | None) -> tuple[str, list[str]]:
            finished = await running.run(SHOW, environment=LOCKED, ref=ref, secrets=secret)
            assert finished.outcome.verdict is Verdict.SUCCEEDED, finished.outcome.reason
            told = [
                f"{event['event']} {event['ref']}"
                for event in finished.events
                if event["event"] in ("snapshot_hit", "snapshot_saved")
            ]
            return finished.printed("agent").replace("[secret TOKEN]", "token"), told

        shared, own = "main\ntoken\n", "main\ntoken\nfeature\ntoken\n"
        assert await run("feature") == (own, ["snapshot_saved None", "snapshot_saved feature"])
        assert await run("feature") == (own, ["snapshot_hit feature"])
        assert await run("other") == (own, ["snapshot_hit None", "snapshot_saved other"])
        assert await run(None) == (shared, ["snapshot_hit None"])
        for _ in range(2):
            assert await run("cloister/t0") == (shared + "agent\nno token\n", ["snapshot_hit None"])
