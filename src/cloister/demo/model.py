"""The scripted model of the tour, as a process of its own that settings name by variables."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import as_file, files

from cloister.errors import HostError

PROVIDER = "demo"
_VARIABLE = "CLOISTER_MODELS_DEMO_"
_SECONDS = 10


@contextmanager
def scripted_model(api: str) -> Iterator[None]:
    """Serve the tour's turns; until the block ends, this process's settings have it as the provider `PROVIDER`.

    `api` is the protocol that the agent speaks. HostError when a request was not as the script has it, or the model
    could not be started.
    """
    with as_file(files("cloister.demo") / "turns.toml") as turns:
        server = subprocess.Popen(
            [sys.executable, "-m", "cloister.testing", str(turns)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # a Ctrl-C is for the task, which goes on asking until it is cancelled
        )
        assert server.stdout is not None
        try:
            address = server.stdout.readline().strip()
            os.environ.update({f"{_VARIABLE}{key}": value for key, value in _settings(address, api).items()})
            yield
        finally:
            for key in _settings("", api):
                os.environ.pop(f"{_VARIABLE}{key}", None)
            server.terminate()
            _, said = server.communicate(timeout=_SECONDS)
    if server.returncode:
        raise HostError(f"the scripted model of the tour: {said.strip()}")


def _settings(address: str, api: str) -> dict[str, str]:
    return {"BASE": f"{address}/v1", "API": api, "KEYLESS": "true"}
