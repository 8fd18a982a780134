"""In whole tasks: what setup leaves of its secrets stops it, is taken out, or allowed; and the twin that reads it."""

import codecs
import json
import os
from pathlib import Path

import pytest

from cloister.errors import ConflictError
from cloister.model.secret import SecretValue
from cloister.model.task import Verdict

from ..system.files import written
from ..system.installation import Installation

SECRET = "tk-8f3aa0c1/d2e94b57+Qz"
LOGIN = r"""
npm config set --location user //registry.example.com/:_authToken "$NPM_TOKEN"
git config --global core.askPass "echo $NPM_TOKEN"
mkdir -p /root/.cache/tool && printf '\0%s' "$NPM_TOKEN" > /root/.cache/tool/blob
echo "$NPM_TOKEN" > /tmp/scratch
echo "$NPM_TOKEN" > $'/opt/\xff'
"""
LOOK = "cat ~/.npmrc ~/.gitconfig /root/.cache/tool/blob 2>/dev/null | tr A-Za-z N-ZA-Mn-za-m; ls /tmp"


def environment(residue: str, script: str = LOGIN) -> str:
    return f"""
[secrets]
NPM_TOKEN = {{ mode = "setup" }}
[setup]
residue = "{residue}"
script = {json.dumps(script)}
[network]
setup = "off"
"""


async def test_a_login_that_was_left_is_refused_and_nothing_is_kept(installation: Installation) -> None:
    async with installation.opened() as running:
        secrets = {"NPM_TOKEN": SecretValue(SECRET)}
        finished = await running.run(LOOK, environment=environment("refuse"), secrets=secrets)
        assert finished.outcome.verdict is Verdict.FAILED
        for path in (
            "/root/.npmrc (NPM_TOKEN; npm's configuration)",
            "/root/.gitconfig",
            "/root/.cache/tool/blob",
            "/opt/",
        ):
            assert path in finished.outcome.reason
        assert "agent" not in [event["phase"] for event in finished.events]
        assert "snapshot_saved" not in finished.names()
        assert list(installation.paths.snapshots.iterdir()) == []
        (found,) = [event for event in finished.events if event["event"] == "residue_found"]
        assert found["action"] == "refused"
        assert SECRET not in str(finished.events)


async def test_what_can_be_taken_out_is_and_the_kept_disk_is_clean(installation: Installation) -> None:
    async with installation.opened() as running:
        secrets = {"NPM_TOKEN": SecretValue(SECRET)}
        finished = await running.run(LOOK, environment=environment("scrub"), secrets=secrets)
        assert finished.outcome.verdict is Verdict.SUCCEEDED, finished.outcome.reason
        assert decoded(finished.printed("agent")).count("[secret NPM_TOKEN]") == 2
    assert holders(installation.state, SECRET) == []


async def test_the_twin_an_allowed_secret_is_read_by_the_agent(installation: Installation) -> None:
    """Or the two tests above would pass for a search that finds nothing to look at."""
    async with installation.opened() as running:
        secrets = {"NPM_TOKEN": SecretValue(SECRET)}
        finished = await running.run(LOOK, environment=environment("allow"), secrets=secrets)
        assert finished.outcome.verdict is Verdict.SUCCEEDED, finished.outcome.reason
        assert decoded(finished.printed("agent")).count(SECRET) == 3
        assert "scratch" not in finished.printed("agent")
    assert {path.name for path in holders(installation.state, SECRET)} >= {".npmrc", ".gitconfig", "blob"}


@pytest.mark.parametrize("residue", ["refuse", "scrub"])
async def test_maintenance_on_a_warm_disk_passes_the_gate_too(installation: Installation, residue: str) -> None:
    text = environment(residue, "true").replace(
        "[network]", "maintenance = 'printf \"\\0$NPM_TOKEN\" >/opt/t'\n[network]"
    )
    async with installation.opened() as running:
        secrets = {"NPM_TOKEN": SecretValue(SECRET)}
        assert (await running.run("true", environment=text, secrets=secrets)).outcome.verdict is Verdict.SUCCEEDED
        warm = await running.run("true", environment=text, secrets=secrets)
        assert "snapshot_hit" in warm.names()
        assert warm.outcome.verdict is Verdict.FAILED
        assert "/opt/t (NPM_TOKEN)" in warm.outcome.reason


def decoded(printed: str) -> str:
    """What LOOK turned, so that no mask knows it."""
    return codecs.decode(printed, "rot13")


def holders(state: Path, secret: str) -> list[Path]:
    """Files below the state directory that hold the value as it is, or as an address has it."""
    found = []
    for folder, _, names in os.walk(state):
        for name in names:
            path = Path(folder, name)
            if path.is_file() and not path.is_symlink() and secret.encode() in written(path):
                found.append(path)
    return found


async def test_a_disk_that_was_kept_with_a_secret_is_for_nobody_who_refuses_it(installation: Installation) -> None:
    async with installation.opened() as running:
        secrets = {"NPM_TOKEN": SecretValue(SECRET)}
        await running.run("true", environment=environment("allow"), secrets=secrets)
        (kept,) = await running.application.intake.snapshots.list()
        with pytest.raises(ConflictError, match="may hold secrets"):
            await running.application.intake.snapshots.export(kept.key, "localhost:1/team/shop:1", lambda _: None)
        refusing = await running.run(LOOK, environment=environment("refuse"), secrets=secrets)
        (missed,) = [event for event in refusing.events if event["event"] == "snapshot_missed"]
        assert missed["reason"] == "changed: residue"
        assert refusing.outcome.verdict is Verdict.FAILED
