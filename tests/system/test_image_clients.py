"""What an image's own package clients are asked for its registries: the real ones, and hostile ones in their place."""

import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import pytest

from cloister.model.environment import Environment, NetworkRecipe
from cloister.model.network import REGISTRIES, NetworkMode
from cloister.model.phase import Phase
from cloister.sandboxes.oci import image_clients, image_inside
from cloister.sandboxes.oci.image import OciImageStore
from cloister.sandboxes.oci.image_clients import registries_in

Write = Callable[[str, str], None]


@pytest.fixture
def root(tmp_path: Path, images: OciImageStore) -> Iterator[Path]:
    """The tree of `base`, to be written in."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    lower = images.rootfs(anyio.run(images.ensure, "base"))
    root, upper, work = (tmp_path / name for name in ("root", "upper", "work"))
    for folder in (root, upper, work):
        folder.mkdir()
    options = f"lowerdir={lower},upperdir={upper},workdir={work}"
    subprocess.run(["mount", "-t", "overlay", "-o", options, "overlay", str(root)], check=True)
    yield root
    subprocess.run(["umount", str(root)], check=True)


@pytest.fixture
def write(root: Path) -> Write:
    """Writes a file of the tree, which can be executed."""

    def write(path: str, text: str) -> None:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
        (root / path).chmod(0o755)

    return write


@pytest.mark.parametrize(
    "word",
    [
        *("https://*.example.com/", "http://10.0.0.1/", "http://[::1]/", "http://localhost/", "http://registry/"),
        *(
            "https://com/",
            "https://github.io/",
            "https://co.uk/",
            "file:///srv",
            "registry.example.com",
            "http://[",
            "*",
        ),
    ],
)
async def test_what_nobody_should_be_allowed_is_left_out(root: Path, write: Write, word: str) -> None:
    before = await registries_in(root)
    write("usr/local/bin/go", f"#!/bin/sh\necho '{word}' https://twin.example.com/\n")
    assert await registries_in(root) == (*before, "twin.example.com")


async def test_an_image_names_so_many_and_no_more(root: Path, write: Write) -> None:
    write("usr/local/bin/go", "#!/bin/sh\nseq -f 'https://n%g.example.com/' 100000\n")
    assert len(await registries_in(root)) == 32


async def test_a_silent_client_ends_with_all_that_it_started(
    root: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_clients, "_ANSWER_SECONDS", 1.0)
    write("usr/local/bin/go", "#!/bin/sh\nsleep 987654 & sleep 987654\n")
    assert await registries_in(root) == ()
    left = await anyio.run_process(["pgrep", "-f", "sleep 987654"], check=False)
    assert left.stdout == b""


async def test_clients_have_no_network(root: Path, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        word = "https://$(exec 3<>/dev/tcp/127.0.0.1/%s && echo reached || echo closed).example.com/"
        write("usr/local/bin/go", f"#!/bin/bash\necho {word % port}\n")
        assert "closed.example.com" in await registries_in(root)
        others = tuple(option for option in image_inside._NAMESPACES if option != "--net")
        monkeypatch.setattr(image_inside, "_NAMESPACES", others)
        assert "reached.example.com" in await registries_in(root), "the twin"


async def test_what_pip_npm_and_apt_of_the_image_say(root: Path, write: Write) -> None:
    write("etc/pip.conf", "[global]\nindex-url = https://me:word@pip.example.com/simple\n")
    write("etc/npmrc", "registry=https://npm.example.com/\n")
    write("root/.npmrc", "registry=https://npm.example.com/\n")
    write("etc/apt/sources.list", "deb [trusted=yes] http://apt.example.com/debian bookworm main\n")
    assert await registries_in(root) == ("pip.example.com", "npm.example.com", "apt.example.com")


def test_they_are_allowed_where_the_preset_is_and_nowhere_else() -> None:
    def allowed(*allow: str) -> tuple[str, ...]:
        network = NetworkRecipe(agent=NetworkMode.LIMITED, allow=allow)
        return Environment(name="web", network=network).policy(Phase.AGENT, ("pip.example.com",)).allow

    assert allowed("example.org") == ("example.org",)
    assert allowed("example.org", REGISTRIES) == ("example.org", REGISTRIES, "pip.example.com")


async def test_clients_leave_nothing_in_the_image(root: Path, write: Write) -> None:
    script = "touch /left && echo https://left.example.com; touch /tmp/x && echo https://twin.example.com"
    write("usr/local/bin/go", f"#!/bin/sh\n{script}\n")
    before = sorted(root.parent.joinpath("upper").rglob("*"))
    assert "twin.example.com" in await registries_in(root)
    assert "left.example.com" not in await registries_in(root)
    assert sorted(root.parent.joinpath("upper").rglob("*")) == before
