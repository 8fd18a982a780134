"""In a whole task, programs with no proxy variable get packages from the registries that this machine uses."""

from cloister.model.task import Verdict

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
