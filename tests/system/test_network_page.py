"""The page on networks, run: a refused request, its explanation, the proposal, and the run that then passes."""

import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cloister.egress.messages import EgressSettings
from cloister.egress.process import EgressProcess
from cloister.model.task import Verdict
from cloister.sandboxes.oci.image import OciImageStore

from .conftest import made_installation
from .egress.origin import Origin
from .egress.world import World, made_world
from .installation import Event
from .project import Project
from .test_table import PUBLIC

PAGE = (Path(__file__).parents[2] / "docs/how-to/network.md").read_text()
SETUP = "[setup]\nautomatic = false\n"
REFUSED = f'name = "web"\n{SETUP}[network]\nsetup = "full"\nagent = "off"\n'


def answer(stream: socket.socket, request: bytes) -> None:
    body = b'{"v": 1}\n' if b"/v1" in request else b"hello\n"
    stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(body), body))


def shown(pattern: str) -> list[str]:
    """What the page shows there, in the order of the page."""
    found = re.findall(pattern, PAGE, re.MULTILINE)
    assert found, pattern
    return found


def command_of_page() -> str:
    first, second = shown(r"^\$ cloister run --env web.toml --command '(.*)' \"look\"$")
    assert first == second
    return first


def proposal_of_page() -> str:
    """What the first `egress propose` printed."""
    return shown(r"^\$ cloister egress propose \w+\n((?:.+\n)+?)```$")[0]


def refusals(events: list[Event]) -> list[tuple[str, str]]:
    return [(event["host"], event["rule"]) for event in events if event["event"] == "egress_refused"]


@contextmanager
def origins(world: World) -> Iterator[None]:
    world.zone |= {"example.com": [PUBLIC], "api.example.com": [PUBLIC]}
    with Origin(world.listener("0.0.0.0", 80), answer), Origin(world.listener("0.0.0.0", 8080), answer):
        yield


async def test_what_was_refused_passes_with_what_is_proposed(images: OciImageStore, tmp_path: Path) -> None:
    project = Project.create(tmp_path / "project", {})
    with (
        made_world(f"cloister-page-{os.getpid()}") as world,
        origins(world),
        made_installation(tmp_path, project) as installation,
    ):
        async with (
            EgressProcess(EgressSettings(), command_prefix=world.command_prefix) as egress,
            installation.opened(egress=egress) as running,
        ):
            off = await running.run(command_of_page(), environment=REFUSED)
            proposed = installation.cloister("egress", "propose", off.status.task.id)
            log = installation.cloister("egress", "log", off.status.task.id, "--refused")
            passed = await running.run(command_of_page(), environment=f'name = "web"\n{SETUP}{proposed.stdout}')
            rest = installation.cloister("egress", "propose", passed.status.task.id)
    assert proposed.stdout == proposal_of_page(), proposed
    assert log.stdout.splitlines() == shown(r"^agent\trefused\t.*$")[:3]
    sentence = off.printed("agent").splitlines()[0]
    assert re.sub(r"`curl.*", "", sentence) == re.sub(r"`curl.*", "", shown(r"^Cloister refused GET example.com.*$")[0])
    assert passed.outcome.verdict is Verdict.SUCCEEDED
    assert passed.printed("agent").startswith('hello\n{"v": 1}\nCloister refused GET 169.254.169.254:80 ')
    assert refusals(passed.events) == [("169.254.169.254", "limited internet allows names, not addresses")]
    assert rest.stdout.strip() in PAGE
