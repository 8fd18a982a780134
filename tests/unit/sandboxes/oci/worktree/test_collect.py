"""What is collected is what plain git would commit, for every kind of change."""

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .conftest import Disk, Twin, git, head_of, tree_of

Edit = Callable[[Path], None]


def write(name: str | bytes, content: bytes = b"new\n") -> Edit:
    def edit(tree: Path) -> None:
        path = os.path.join(os.fsencode(tree), os.fsencode(name))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content)

    return edit


def remove(name: str) -> Edit:
    def edit(tree: Path) -> None:
        path = tree / name
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()

    return edit


def link(name: str, target: str) -> Edit:
    return lambda tree: (tree / name).symlink_to(target)


def move(source: str, target: str) -> Edit:
    return lambda tree: shutil.move(tree / source, tree / target) and None


def chmod(name: str, mode: int) -> Edit:
    return lambda tree: (tree / name).chmod(mode)


def mkdir(name: str) -> Edit:
    return lambda tree: (tree / name).mkdir(parents=True)


def fifo(name: str) -> Edit:
    return lambda tree: os.mkfifo(tree / name)


def unix_socket(name: str) -> Edit:
    def edit(tree: Path) -> None:
        folder = os.open(tree, os.O_PATH)  # a socket's address is shorter than a test's path
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(f"/proc/self/fd/{folder}/{name}")
        os.close(folder)

    return edit


def repository(name: str, *, bare: bool = False, commit: bool = True) -> Edit:
    def edit(tree: Path) -> None:
        git(tree, "init", "--quiet", *(["--bare"] if bare else []), "--initial-branch=main", name)
        if commit:
            (tree / name / "inner").write_text("inner\n")
            git(tree / name, "add", "inner")
            git(tree / name, "commit", "--quiet", "-m", "inner")

    return edit


CHANGES: dict[str, list[Edit]] = {
    "new": [write("new"), write("src/deep/er/new")],
    "empty file": [write("empty", b"")],
    "empty directory": [mkdir("nothing/here")],
    "changed": [write("README", b"other\n")],
    "binary": [write("data.bin", bytes(range(255, -1, -1)) * 9)],
    "written but the same": [write("README", b"hello\n")],
    "deleted": [remove("README")],
    "directory deleted": [remove("src")],
    "renamed": [move("src/a.py", "src/renamed.py")],
    "directory renamed": [move("src", "lib")],
    "made executable": [chmod("README", 0o755)],
    "made plain": [chmod("run.sh", 0o644)],
    "other mode bits": [chmod("README", 0o666), chmod("run.sh", 0o700)],
    "new symlinks": [link("s", "README"), link("outside", "/etc/passwd"), link("dangling", "nowhere")],
    "symlink changed": [remove("link"), link("link", "src")],
    "symlink to file": [remove("link"), write("link", b"README")],
    "file to symlink": [remove("README"), link("README", "run.sh")],
    "file to directory": [remove("README"), write("README/inside")],
    "directory to file": [remove("src"), write("src")],
    "directory to symlink": [remove("src"), link("src", ".")],
    "directory made anew": [remove("src"), write("src/deep/b.py", b"b\n"), write("src/other")],
    "directory made anew, empty": [remove("src"), mkdir("src/deep")],
    "removed and written the same": [remove("README"), write("README", b"hello\n")],
    "ignored": [write("x.log"), write("build/x"), write("src/build/deep/y")],
    "ignored directory in a new one": [write("pkg/build/x"), write("pkg/y")],
    "no longer ignored": [write(".gitignore", b""), write("x.log")],
    "ignored by a new rule": [write("src/.gitignore", b"*\n!keep\n"), write("src/junk"), write("src/keep")],
    "ignore file removed": [remove(".gitignore"), write("x.log")],
    "ignore file is a symlink": [remove(".gitignore"), link(".gitignore", "README"), write("x.log")],
    "ignore file is a directory": [remove(".gitignore"), write(".gitignore/x.log"), write("x.log")],
    "tracked, now ignored": [write(".gitignore", b"README\n"), write("README", b"still tracked\n")],
    "odd names": [
        write(name)
        for name in (
            *(
                b"new\nline",
                b'"quoted"',
                b"esc\x1b[31m",
                b"\xff\xfe",
                b"sp ace",
                b"-dash",
                b"--",
                b"tab\t",
                b"back\\slash",
            ),
            *(b":(top)x", b":", b"*", b"!not", b"#no", b"a\rb", "ü".encode(), b"d\n/f\n", b"[x]", b"trailing "),
        )
    ],
    "fifo": [fifo("pipe")],
    "socket": [unix_socket("sock")],
    "hard links": [lambda tree: os.link(tree / "README", tree / "again"), write("again", b"both\n")],
    "no permission": [write("secret", b"s\n"), chmod("secret", 0)],
    "bare repository": [repository("bare.git", bare=True, commit=False)],
    "repository": [repository("inner"), write("inner/uncommitted")],
    "repository in a new directory": [repository("a/b/inner")],
    "ignored repository": [repository("build/inner")],
    "repository in a tracked directory": [repository("src")],
}


@pytest.mark.parametrize("name", CHANGES)
async def test_collects_what_git_would_commit(disk: Disk, twin: Twin, name: str) -> None:
    for edit in CHANGES[name]:
        edit(disk.tree)
        edit(twin.tree)
    base = head_of(twin.tree)
    change = await disk.changes(base)
    wanted = twin.stage()
    assert tree_of(change) == wanted
    assert twin.tree_after(change.diff) == wanted
    assert (change.commit == base) == (change.diff == b"") == (git(twin.tree, "diff", "--raw", base, wanted) == b"")


NAMES = st.sampled_from([b"a", b"b", b"c", b"x.log", b"build", b"new\nline", b"\xff", b'q"', b"-d", b".gitignore"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map(b"/".join)
CONTENTS = st.sampled_from([b"", b"one\n", b"two\n", b"*.log\n", b"!x.log\nbuild\n", b"\0binary", b"a\n" * 50])
EDITS = st.one_of(
    st.tuples(st.just("write"), PATHS, CONTENTS),
    st.tuples(st.just("link"), PATHS, st.sampled_from([b"a", b"../b", b"/etc/passwd", b".", b"nowhere"])),
    st.tuples(st.just("remove"), PATHS, st.just(b"")),
    st.tuples(st.just("chmod"), PATHS, st.sampled_from([b"755", b"644"])),
    st.tuples(st.just("move"), PATHS, PATHS),
    st.tuples(st.just("anew"), PATHS, st.just(b"")),
)


def do(tree: Path, kind: str, name: bytes, value: bytes) -> None:
    """Make one edit if it can be made; the same state gives the same result on both sides."""
    root = os.fsencode(tree)
    path = os.path.join(root, name)
    if not os.path.realpath(os.path.dirname(path)).startswith(root):
        return
    try:
        match kind:
            case "write":
                os.makedirs(os.path.dirname(path), exist_ok=True)
                if os.path.islink(path):
                    os.unlink(path)
                Path(os.fsdecode(path)).write_bytes(value)
            case "link":
                os.symlink(value, path)
            case "remove" | "anew":
                shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)
                if kind == "anew":
                    os.mkdir(path)
            case "chmod":
                if not os.path.islink(path) and not os.path.isdir(path):
                    os.chmod(path, int(value, 8))
            case "move":
                target = os.path.join(root, value)
                if not os.path.lexists(target) and os.path.realpath(os.path.dirname(target)).startswith(root):
                    shutil.move(os.fsdecode(path), os.fsdecode(target))
    except (OSError, shutil.Error):
        pass


@pytest.fixture
def source_of_random(tmp_path: Path) -> Path:
    path = tmp_path / "random"
    path.mkdir()
    git(path, "init", "--quiet", "--initial-branch=main")
    for name in (b"a/a", b"a/b/c", b"a/x.log", b"b/a", b"b/new\nline", b"c", b"x.log", b"build/a/b", b"build/c"):
        write(name, b"one\n")(path)
    (path / ".gitignore").write_text("*.log\nbuild\n")
    git(path, "add", "--all", "--force")
    git(path, "commit", "--quiet", "-m", "first")
    return path


@pytest.fixture
def random_sides(source_of_random: Path, tmp_path: Path, new_disk: Callable[[Path], Disk]) -> tuple[Disk, Twin]:
    disk = new_disk(source_of_random)
    disk.checkout(head_of(source_of_random))
    disk.draw_line()
    return disk, Twin(tmp_path / "random-twin", source_of_random)


@given(edits=st.lists(EDITS, min_size=1, max_size=8))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_collects_any_sequence_of_edits(
    random_sides: tuple[Disk, Twin], edits: list[tuple[str, bytes, bytes]]
) -> None:
    disk, twin = random_sides
    disk.reset()
    twin.reset()
    for kind, name, value in edits:
        do(disk.tree, kind, name, value)
        do(twin.tree, kind, name, value)
    change = await disk.changes(head_of(twin.tree))
    wanted = twin.stage()
    assert tree_of(change) == wanted
    assert twin.tree_after(change.diff) == wanted
