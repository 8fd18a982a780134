"""The child of the egress process's owner, at its start."""

from pathlib import Path

import anyio.lowlevel

from cloister.egress.process import EgressProcess


def children() -> set[str]:
    """Of this process."""
    tasks = Path("/proc/self/task").glob("*/children")
    return {child for task in tasks for child in task.read_text().split()}


async def test_one_that_is_left_while_its_child_starts_leaves_no_child() -> None:
    before = children()
    seen = False
    for turns in range(12):
        async with EgressProcess():
            for _ in range(turns):
                await anyio.lowlevel.checkpoint()
            seen = seen or children() != before
        assert children() == before, f"left after {turns} turns"
    assert seen, "some were left after the child was made"
