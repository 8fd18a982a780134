"""What goes of a mirror's large objects, and what stays."""

import os
import time
from pathlib import Path

import pytest

from cloister.forges.large_files import ObjectStore
from cloister.forges.large_prune import DRAFT_SECONDS, IN_USE_SECONDS, KEPT_SECONDS, prune_objects
from cloister.forges.local import STRANGERS, LocalForge
from cloister.model.large_file import LargeFile


def put(mirror: Path, number: int, *, age: float, size: int = 10) -> LargeFile:
    file = LargeFile(path=b"x", digest=f"{number:064x}"[::-1], size=size)
    path = ObjectStore(mirror).path_of(file.digest)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    os.utime(path, (time.time() - age,) * 2)
    return file


def test_what_nobody_used_for_long_goes_and_what_was_used_stays(tmp_path: Path) -> None:
    store = ObjectStore(tmp_path)
    old, used, new = (put(tmp_path, number, age=age) for number, age in enumerate((KEPT_SECONDS + 60,) * 2 + (60,)))
    assert store.use(used)
    assert prune_objects(tmp_path, most_bytes=1000) == 1
    assert [store.has(file) for file in (old, used, new)] == [False, True, True]


def test_of_too_many_the_oldest_go_but_none_that_a_task_may_be_about_to_use(tmp_path: Path) -> None:
    store = ObjectStore(tmp_path)
    files = [put(tmp_path, number, age=IN_USE_SECONDS * (4 - number) - 60) for number in range(4)]
    assert prune_objects(tmp_path, most_bytes=25) == 2
    assert [store.has(file) for file in files] == [False, False, True, True]
    assert prune_objects(tmp_path, most_bytes=0) == 1
    assert store.has(files[3])


@pytest.mark.anyio
async def test_what_killed_processes_left_goes_in_every_mirror(tmp_path: Path) -> None:
    stale, fresh = [], []
    for place in (tmp_path / "mirrors/a.git", tmp_path / STRANGERS / "mirrors/b.git"):
        (place / "lfs").mkdir(parents=True)
        stale.append(place / "lfs/incoming-1")
        fresh.append(place / "lfs/incoming-2")
    for path in (*stale, *fresh):
        path.write_bytes(b"half")
    for path in stale:
        os.utime(path, (time.time() - DRAFT_SECONDS - 60,) * 2)
    await LocalForge(tmp_path).tidy()
    assert not any(path.exists() for path in stale)
    assert all(path.exists() for path in fresh), "somebody is fetching them"
    await LocalForge(tmp_path / "nothing").tidy()
