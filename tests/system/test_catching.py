"""In a whole task, programs with no proxy variable get packages from the registries that this machine uses."""

import pytest

from cloister.model.task import Verdict
from cloister.sandboxes.oci import catch

from .installation import Installation

ENVIRONMENT = """
name = "caught"
[setup]
automatic = false
script = '''
for name in $(env | cut -d= -f1 | grep -i _proxy$); do unset $name; done
pip download --quiet --no-deps --dest /root/wheels h11
npm pack --silent --pack-destination /root is-number
ls /root/wheels /root/*.tgz
'''
[network]
setup = "full"
"""


async def test_pip_and_npm_work_without_a_proxy_variable(installation: Installation) -> None:
    async with installation.opened() as running:
        finished = await running.run(environment=ENVIRONMENT)
    assert finished.outcome.verdict is Verdict.SUCCEEDED, finished.events
    assert "h11-" in finished.printed("setup")
    assert "is-number-" in finished.printed("setup")


async def test_a_task_is_told_once_that_its_host_cannot_catch(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = '[setup]\nautomatic = false\nscript = "true"\n[network]\nsetup = "full"\nagent = "full"\n'
    async with installation.opened() as running:
        caught = await running.run(environment=environment, use_cache=False)
        monkeypatch.setattr(catch, "_LIBRARY", "libnftables-that-is-not-there.so.1")
        missed = await running.run(environment=environment, use_cache=False)
    assert [finished.outcome.verdict for finished in (caught, missed)] == [Verdict.SUCCEEDED] * 2
    assert [finished.names().count("catching_missed") for finished in (caught, missed)] == [0, 1]
