"""In a whole task, setup gets packages from the registries that this machine uses, with a proxy set and without.

uv is a downloader in Rust, with TLS and a look-up of names of its own, as cargo is.
"""

import subprocess
import sys

import pytest

from cloister.model.task import Verdict

from .installation import Installation

UNSET = "for name in $(env | cut -d= -f1 | grep -i _proxy$); do unset $name; done"
ENVIRONMENT = """
name = "caught"
[setup]
automatic = false
script = '''
%s
pip install --quiet --target /root/wheels h11
pip install --quiet --target /root/tools uv
/root/tools/bin/uv pip install --quiet --target /root/fetched ${PIP_INDEX_URL:+--index-url "$PIP_INDEX_URL"} six
npm install --silent --prefix /root/node is-number
apt-get update -qq
apt-get install -qq --yes --no-install-recommends hello >/dev/null 2>&1
ls /root/wheels /root/fetched /root/node/node_modules
hello
'''
[network]
setup = "full"
"""


@pytest.mark.parametrize("first", [":", UNSET], ids=["with a proxy set", "with none"])
async def test_pip_npm_and_apt_work(installation: Installation, first: str) -> None:
    async with installation.opened() as running:
        finished = await running.run(environment=ENVIRONMENT % first)
    assert finished.outcome.verdict is Verdict.SUCCEEDED, finished.events
    printed = finished.printed("setup").split("\n")
    assert {"h11", "six.py", "is-number", "Hello, world!"} <= set(printed)


MANY = """
import os, resource
from cloister.sandboxes.oci.catch import catch_everything, is_caught
resource.setrlimit(resource.RLIMIT_NOFILE, (2048, 2048))
opened = [os.open("/dev/null", os.O_RDONLY) for _ in range(1100)]
assert not is_caught()
print(catch_everything(), is_caught(), len(os.listdir("/proc/self/fd")) > 1100)
"""


def test_a_process_with_many_descriptors_catches_too() -> None:
    """As a worker of a hundred sandboxes: the library would end it (`bit out of range 0 - FD_SETSIZE on fd_set`)."""
    command = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$0" -c "$1"', sys.executable, MANY]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, " True True\n"), done.stderr
