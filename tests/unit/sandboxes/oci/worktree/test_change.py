"""What a container hands out is checked before the host's repository has it."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister.errors import SandboxError, TaskFailedError
from cloister.model.sandbox import Change, Commit, DiffStats
from cloister.sandboxes.oci.worktree import change as change_module
from cloister.sandboxes.oci.worktree.change import import_change, read_numstat

from .conftest import Disk, Twin, git, head_of


class Results:
    """A results repository, and packs to be taken into it."""

    def __init__(self, place: Path, source: Path) -> None:
        self.place = place
        self.repository = place / "results.git"
        self.mirror = place / "mirror.git"
        self.source = source
        self.base = head_of(source)
        git(place, "clone", "--quiet", "--mirror", str(source), str(self.mirror))

    def pack(self, commit: str, *, without: str) -> Path:
        pack = self.place / "change.pack"
        revisions = f"{commit}\n^{without}\n".encode()
        pack.write_bytes(git(self.source, "pack-objects", "--revs", "--stdout", "--quiet", stdin=revisions))
        return pack

    async def take(self, commit: str, pack: Path) -> Change:
        return await import_change(
            self.repository, mirror=self.mirror, base=self.base, commit=Commit(commit), pack=pack, name="a1"
        )

    def files(self) -> set[str]:
        return {
            name
            for folder, _, names in os.walk(self.repository / "objects")
            for name in names
            if folder != str(self.repository / "objects/info")
        }


@pytest.fixture
def results(source: Path, tmp_path: Path) -> Results:
    place = tmp_path / "place"
    place.mkdir()
    return Results(place, source)


def commit_on(source: Path, text: str, *parents: str) -> str:
    blob = git(source, "hash-object", "-w", "--stdin", stdin=text.encode()).decode().strip()
    tree = git(source, "mktree", stdin=f"100644 blob {blob}\tREADME\n".encode()).decode().strip()
    options = [option for parent in parents for option in ("-p", parent)]
    return git(source, "commit-tree", tree, *options, "-m", "x").decode().strip()


@pytest.mark.parametrize("parents", [0, 2, "other"])
async def test_a_commit_with_another_parent_is_refused(results: Results, parents: int | str) -> None:
    other = commit_on(results.source, "other")
    commit = commit_on(results.source, "x", *{0: (), 2: (results.base, other), "other": (other,)}[parents])
    with pytest.raises(SandboxError, match="no commit"):
        await results.take(commit, results.pack(commit, without=results.base))
    assert results.files() == set()


async def test_another_commit_than_the_one_named_is_refused(results: Results) -> None:
    commit = commit_on(results.source, "x", results.base)
    pack = results.pack(commit, without=results.base)
    with pytest.raises(SandboxError, match="no commit"):
        await results.take("1" * 40, pack)
    assert results.files() == set()


async def test_a_pack_with_holes_is_refused(results: Results) -> None:
    commit = commit_on(results.source, "x", results.base)
    pack = results.place / "change.pack"
    pack.write_bytes(git(results.source, "pack-objects", "--stdout", "--quiet", stdin=f"{commit}\n".encode()))
    with pytest.raises(SandboxError, match="cannot be read"):
        await results.take(commit, pack)
    assert results.files() == set()


@pytest.mark.parametrize("damage", ["empty", "text", "cut", "flipped"])
async def test_a_damaged_pack_is_refused(results: Results, damage: str) -> None:
    commit = commit_on(results.source, "x", results.base)
    pack = results.pack(commit, without=results.base)
    content = pack.read_bytes()
    flipped = bytes([content[20] ^ 1])
    pack.write_bytes(
        {"empty": b"", "text": b"hello", "cut": content[:-30], "flipped": content[:20] + flipped + content[21:]}[damage]
    )
    with pytest.raises(SandboxError, match="cannot be read"):
        await results.take(commit, pack)
    assert results.files() == set()


@pytest.mark.parametrize("kind", ["symlink", "fifo", "directory", "absent"])
async def test_what_is_no_file_is_not_opened(results: Results, kind: str) -> None:
    commit = commit_on(results.source, "x", results.base)
    real = results.pack(commit, without=results.base).rename(results.place / "real.pack")
    pack = results.place / "change.pack"
    match kind:
        case "symlink":
            pack.symlink_to(real)
        case "fifo":
            os.mkfifo(pack)
        case "directory":
            pack.mkdir()
    with pytest.raises(SandboxError, match=r"change\.pack"):
        await results.take(commit, pack)


async def test_too_large_a_change_fails_the_task(results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = commit_on(results.source, "x" * 5000, results.base)
    pack = results.pack(commit, without=results.base)
    monkeypatch.setattr(change_module, "LARGEST_DIFF_BYTES", 1000)
    with pytest.raises(TaskFailedError, match="diff"):
        await results.take(commit, pack)
    monkeypatch.setattr(change_module, "LARGEST_PACK_BYTES", 100)
    with pytest.raises(TaskFailedError, match="larger than 100 bytes"):
        await results.take(commit, pack)


async def test_the_commit_is_kept_above_the_mirror(results: Results) -> None:
    commit = commit_on(results.source, "x\n", results.base)
    change = await results.take(commit, results.pack(commit, without=results.base))
    assert git(results.repository, "rev-parse", "refs/cloister/a1").decode().strip() == commit
    assert git(results.repository, "rev-parse", f"{commit}^").decode().strip() == results.base
    git(results.repository, "fsck", "--strict", "--connectivity-only")
    again = await results.take(commit, results.pack(commit, without=results.base))
    assert again == change


async def test_an_empty_change_is_one(results: Results) -> None:
    change = await results.take(results.base, results.place / "absent")
    assert change.commit == change.base
    assert change.diff == b""
    assert change.stats == DiffStats(files=0, added=0, removed=0)
    assert git(results.repository, "cat-file", "-t", change.commit) == b"commit\n"


async def test_counts_lines_files_and_renames(disk: Disk, twin: Twin) -> None:
    (disk.tree / "src/a.py").rename(disk.tree / "src/renamed.py")
    (disk.tree / "src/renamed.py").chmod(0o755)
    (disk.tree / "README").write_text("hello\nmore\n")
    (disk.tree / "src/deep/b.py").unlink()
    (disk.tree / "data.bin").write_bytes(b"\0")
    (disk.tree / "tab\tnew\nline").write_text("1\n2\n")
    change = await disk.changes(head_of(twin.tree))
    assert change.stats == DiffStats(files=5, added=3, removed=1)
    assert b"rename from src/a.py" in change.diff


async def test_attributes_have_no_say_in_the_diff(disk: Disk, twin: Twin) -> None:
    (disk.tree / ".gitattributes").write_text("* -diff\n")
    (disk.tree / "README").write_text("shown\n")
    change = await disk.changes(head_of(twin.tree))
    assert b"+shown" in change.diff


NAMES = st.text(st.characters(exclude_characters="\r\n\0", max_codepoint=126), min_size=1).map(str.encode)
NUMBERS = st.integers(min_value=0, max_value=10**6)


@given(st.lists(st.tuples(NUMBERS, NUMBERS, st.booleans(), NAMES)))
def test_numstat_is_read_whatever_the_names(entries: list[tuple[int, int, bool, bytes]]) -> None:
    lines = [b"-\t-\t" + name if binary else b"%d\t%d\t%s" % (add, rem, name) for add, rem, binary, name in entries]
    assert read_numstat(b"\n".join(lines)) == DiffStats(
        files=len(entries),
        added=sum(added for added, _, binary, _ in entries if not binary),
        removed=sum(removed for _, removed, binary, _ in entries if not binary),
    )
