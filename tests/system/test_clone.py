"""In a whole task, setup clones another repository over HTTPS, with a proxy set and without, and the agent may not."""

import os
from pathlib import Path

import pytest

from cloister.certificates import read_certificates
from cloister.egress.authority import load_authority
from cloister.egress.messages import EgressSettings
from cloister.egress.process import EgressProcess
from cloister.model.task import Verdict
from cloister.sandboxes.oci.image import OciImageStore

from .conftest import made_installation
from .egress.origin import Origin, make_authority
from .egress.repository import Answers, make_repository
from .egress.world import made_world
from .project import Project
from .test_catching import UNSET
from .test_table import PUBLIC

ENVIRONMENT = """
name = "cloning"
[setup]
automatic = false
script = '''
%s
git clone --quiet https://example.com/git /root/cloned
cat /root/cloned/file
'''
[network]
setup = "limited"
agent = "off"
allow = ["example.com"]
"""


@pytest.mark.parametrize("first", [":", UNSET], ids=["with a proxy set", "with none"])
async def test_git_clones_in_setup_and_not_for_the_agent(images: OciImageStore, tmp_path: Path, first: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("a network namespace of its own needs root")
    vouching = make_authority(tmp_path, ["example.com"])
    make_repository(tmp_path, "cloned\n")
    project = Project.create(tmp_path / "project", {})
    with made_world(f"cloister-clone-{os.getpid()}") as world, made_installation(tmp_path, project) as installation:
        world.zone["example.com"] = [PUBLIC]
        origin = Origin(world.listener("0.0.0.0", 443), Answers(tmp_path), vouching.server_context).start()
        authorities = [tmp_path / "authority.pem"]
        settings = EgressSettings(
            authority=load_authority(installation.state), authorities=read_certificates(authorities)
        )
        async with (
            EgressProcess(settings, command_prefix=world.command_prefix) as egress,
            installation.opened(egress=egress, settings={"authorities": authorities}) as running,
        ):
            again = "git clone https://example.com/git again 2>&1 || echo refused"
            finished = await running.run(again, environment=ENVIRONMENT % first)
        assert finished.outcome.verdict is Verdict.SUCCEEDED, finished.events
        assert finished.printed("setup") == "cloned\n"
        assert finished.printed("agent").endswith("refused\n")
        assert origin.received, "the twin: setup's clone reached it"
