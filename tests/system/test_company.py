"""A whole task behind a company's proxy: what programs reach and trust there, and that its password is nowhere else."""

import os
import shutil
from pathlib import Path

import pytest

from cloister.certificates import read_certificates
from cloister.egress.authority import load_authority
from cloister.egress.messages import EgressSettings
from cloister.egress.process import EgressProcess
from cloister.encodings import forms_of
from cloister.model.secret import SecretValue
from cloister.model.task import Verdict
from cloister.model.upstreams import UpstreamProxy, Upstreams, parse_given_address
from cloister.sandboxes.oci.image import OciImageStore

from .conftest import made_installation
from .egress.company import ADDRESS, PASSWORD, PORT, USER, open_company
from .egress.origin import Origin, answer_https, make_authority
from .egress.world import made_world
from .project import Project
from .test_table import PUBLIC

PRIVATE = "10.0.0.5"
ENVIRONMENT = """
name = "company"
[setup]
automatic = false
[network]
setup = "off"
agent = "limited"
allow = ["example.com", "git.corp.internal"]
"""
ASK = """
curl -sS -H 'Connection: close' https://example.com/
curl -sS --noproxy '*' https://example.com/
curl -sS --noproxy '*' https://git.corp.internal/
"""


async def test_a_task_reaches_what_is_outside_and_what_is_private(images: OciImageStore, tmp_path: Path) -> None:
    if os.geteuid() != 0 or shutil.which("squid") is None:
        pytest.skip("needs root and squid")
    vouching = make_authority(tmp_path, ["example.com", "git.corp.internal"])
    authorities = read_certificates([tmp_path / "authority.pem"])
    upstreams = Upstreams(
        proxy=UpstreamProxy(host=ADDRESS, port=PORT, credentials=SecretValue(f"{USER}:{PASSWORD}")),
        addresses={"git.corp.internal": parse_given_address(PRIVATE)},
    )
    project = Project.create(tmp_path / "project", {})
    with (
        made_world(f"cloister-company-{os.getpid()}") as world,
        open_company(world, PUBLIC) as company,
        made_installation(tmp_path, project) as installation,
    ):
        world.zone["example.com"] = [PUBLIC]
        tls = Origin(world.listener("0.0.0.0", 443), answer_https, vouching.server_context).start()
        settings = EgressSettings(
            authority=load_authority(installation.state), authorities=authorities, upstreams=upstreams
        )
        async with (
            EgressProcess(settings, command_prefix=world.command_prefix) as egress,
            installation.opened(egress=egress, settings={"authorities": [tmp_path / "authority.pem"]}) as running,
        ):
            finished = await running.run(ASK, environment=ENVIRONMENT)
        assert finished.outcome.verdict is Verdict.SUCCEEDED, finished.events
        assert finished.printed("agent") == "hello" * 3
        assert tls.reached == [PUBLIC, PUBLIC, PRIVATE]
        assert company.asked() == [f"200 CONNECT example.com:443 {USER}"] * 2
        forms = [form for text in (PASSWORD, f"{USER}:{PASSWORD}") for form in forms_of(text)]
        files = [path for path in installation.state.glob("*") if path.is_file()]
        kept = b"".join(path.read_bytes() for path in files) + str(finished.events).encode()
        assert b"git.corp.internal" in kept
        assert [form for form in forms if form in kept] == []
