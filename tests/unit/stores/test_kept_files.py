import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cloister.errors import NotFoundError, StoreError
from cloister.stores.kept_files import DirectoryFileStore


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "-x", ".x", "a\n", "a" * 300])
async def test_a_name_that_could_lead_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    store = DirectoryFileStore(tmp_path / "files")
    (tmp_path / "x").write_text("outside")
    for call in (store.keep(name, {}), store.keep("one", {name: b""}), store.read("one", name), store.read(name, "x")):
        with pytest.raises(NotFoundError):
            await call
    assert (tmp_path / "x").read_text() == "outside"
    assert await store.owners() == []


async def test_files_are_kept_whole_in_place_of_former_ones(tmp_path: Path) -> None:
    store = DirectoryFileStore(tmp_path / "files")
    assert store.folder("one") is None
    await store.keep("one", {"a": b"1", "b": b"2"})
    await store.keep("one", {"a": b"3"})
    assert await store.read("one", "a") == b"3"
    with pytest.raises(NotFoundError):
        await store.read("one", "b")
    folder = store.folder("one")
    assert folder is not None and [path.name for path in folder.iterdir()] == ["a"]
    assert await store.owners() == ["one"]
    await store.remove("one")
    await store.remove("one")
    assert await store.owners() == []


async def test_where_nothing_can_be_written_the_former_ones_stay(tmp_path: Path) -> None:
    (tmp_path / "files").write_text("no directory")
    with pytest.raises(StoreError):
        await DirectoryFileStore(tmp_path / "files").keep("one", {"a": b"1"})


async def test_a_file_grows_and_files_of_another_owner_come_along(tmp_path: Path) -> None:
    store = DirectoryFileStore(tmp_path / "files")
    for piece in (b"one\n", b"two\n"):
        store.append("shell", "recording", piece)
    assert await store.read("shell", "recording") == b"one\ntwo\n"
    await store.keep("first", {"a": b"1"})
    await store.keep("second", {"b": b"2"}, with_those_of="first")
    await store.remove("first")
    assert [await store.read("second", name) for name in "ab"] == [b"1", b"2"]
    old = datetime.now(UTC) - timedelta(hours=1)
    assert await store.owners(before=old) == []
    os.utime(tmp_path / "files" / "second", (0, 0))
    assert await store.owners(before=old) == ["second"]


async def test_what_cannot_be_added_is_told(tmp_path: Path) -> None:
    (tmp_path / "files").write_text("no directory")
    with pytest.raises(StoreError):
        DirectoryFileStore(tmp_path / "files").append("one", "a", b"1")
