"""What is asked of the spawner of supervisors, and whose answer is whose."""

import os
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from cloister.errors import HostError
from cloister.sandboxes.oci.containers import Containers
from cloister.sandboxes.oci.runtime import find_runtime

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can start containers")


@pytest.fixture
def containers(tmp_path: Path) -> Iterator[Containers]:
    containers = Containers(find_runtime("auto", tmp_path))
    yield containers
    containers.close()


def deletion(*command: str) -> dict[str, object]:
    return {"delete": list(command), "hide": []}


async def test_an_answer_that_nobody_waited_for_is_not_taken_for_the_next(containers: Containers) -> None:
    with anyio.move_on_after(0.1):
        await containers._ask(deletion("sleep", "0.5"))
    with pytest.raises(HostError):
        await containers._ask({"directory": "/nonexistent"})
    await containers._ask(deletion("true"))
