"""An image with OpenAI's script: it chooses versions before setup, and what it notes is there for setup and agent."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cloister.sandboxes.oci.image import OciImageStore

from .installation import Installation
from .registry import Registry, layer_of, needs_registry, small_layer

pytestmark = needs_registry

SCRIPT = rb"""#!/bin/bash --login
set -euo pipefail
echo "the script: node ${CODEX_ENV_NODE_VERSION:-none} $IN_PROFILE in $PWD"
test "${CODEX_ENV_NODE_VERSION:-none}" != 99 || { echo "no node 99 here" >&2; exit 3; }
echo "export CHOSEN=${CODEX_ENV_NODE_VERSION:-none}" >> /etc/profile
echo 'export IN_BASHRC=yes' >> ~/.bashrc
echo "${CODEX_ENV_NODE_VERSION:-none}" > .nvmrc
echo changed > a.txt
"""
PROFILE = b"PATH=/opt/profile:/usr/bin\nexport IN_PROFILE=yes\nmissing_command || true\nfalse\n"
ENVIRONMENT = """
image = "IMAGE"
[versions]
node = "20"
[variables]
OWN = "own"
[setup]
script = '''
echo "setup: $CHOSEN $IN_PROFILE $ITS $OWN $PATH"
test "$(cat .nvmrc)" = 20
'''
[network]
setup = "off"
"""
LOOK = 'echo "agent: $CHOSEN $IN_PROFILE $IN_BASHRC $ITS $OWN $CODEX_ENV_NODE_VERSION $PATH"; cat a.txt; exit 7'


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry(tmp_path / "registry").running() as running:
        yield running


async def test_the_script_runs_once_before_setup_and_login_shells_have_what_it_chose(
    installation: Installation, images: OciImageStore, registry: Registry, tmp_path: Path
) -> None:
    layers = [small_layer(images.rootfs(await images.ensure("base")))]
    own = layer_of(tmp_path / "layer", {"opt/codex/setup_universal.sh": SCRIPT, "etc/profile": PROFILE}, mode=0o755)
    names = [f"{registry.host}/{name}:1" for name in ("universal", "plain")]
    registry.push("universal:1", [*layers, own], ("ITS=its", "PATH=/opt/image:/usr/bin"))
    registry.push("plain:1", layers, ("ITS=its", "PATH=/opt/image:/usr/bin"))
    environment = ENVIRONMENT.replace("IMAGE", names[0])
    async with installation.opened() as running:
        pulled = [await running.application.images.pull(name) for name in names]
        assert [image.universal for image in pulled] == [True, False]
        cold = await running.run(LOOK, environment=environment)
        warm = await running.run(LOOK, environment=environment)
        refused = await running.run(LOOK, environment=environment.replace('"20"', '"99"'))
        bare = await running.run(LOOK, environment=f'image = "{names[0]}"\n[setup]\nautomatic = false\n')
        plain = await running.run(LOOK, environment=f'image = "{names[1]}"\n[setup]\nautomatic = false\n')
    for name in names:
        await images.remove(name, in_use=lambda _: False)
    assert cold.printed("setup") == (
        "the script: node 20 yes in /workspace/project\nsetup: 20 yes its own /opt/profile:/usr/bin\n"
    )
    for finished in (cold, warm):
        assert finished.printed("agent") == "agent: 20 yes yes its own 20 /opt/profile:/usr/bin\none\n"
        assert (finished.outcome.exit_status, finished.diff) == (7, "")
    assert warm.printed("setup") == ""
    assert refused.outcome.reason.startswith("the setup script ended with status 3; it last said: ")
    assert "no node 99 here" in refused.outcome.reason
    assert bare.printed("agent") == "agent: none yes yes its   /opt/profile:/usr/bin\none\n"
    assert plain.printed("agent") == "agent:    its   /opt/image:/usr/bin\none\n", "the twin: no script, no login shell"
