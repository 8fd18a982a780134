"""A work tree on a real overlay, checked out and collected by the real programs, and the same tree in a plain clone."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from cloister.model.sandbox import Change, Commit
from cloister.sandboxes.oci import worktree
from cloister.sandboxes.oci.worktree.change import import_change
from cloister.sandboxes.oci.worktree.written import list_written, write_list

GIT = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "a",
    "GIT_AUTHOR_EMAIL": "a@example.com",
    "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@example.com",
    "GIT_AUTHOR_DATE": "1700000000 +0000",
    "GIT_COMMITTER_DATE": "1700000000 +0000",
    "GIT_ALLOW_PROTOCOL": "file",
}


def git(directory: Path, *arguments: str, stdin: bytes = b"", env: Mapping[str, str] = GIT) -> bytes:
    done = subprocess.run(["git", *arguments], cwd=directory, env=env, input=stdin, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout


def head_of(directory: Path) -> Commit:
    return Commit(git(directory, "rev-parse", "HEAD").decode().strip())


class Disk:
    """Lower layers, an upper layer, and what the programs see of them below `root`."""

    def __init__(self, place: Path, source: Path) -> None:
        self.place = place
        self.root = place / "root"
        self.layers = [place / "layer0"]
        self.merged = place / "merged"
        for name in ("layer0/workspace", "merged", "root/cloister/git", "root/cloister/exchange"):
            (place / name).mkdir(parents=True)
        self.mirror = self.root / "cloister/mirror.git"
        git(place, "clone", "--quiet", "--mirror", str(source), str(self.mirror))
        git(self.mirror, "pack-refs", "--all")
        (self.root / "workspace").symlink_to(self.merged / "workspace")
        self.tree = self.merged / "workspace/project"
        self.mounted = False
        self.draw_line()

    @property
    def upper(self) -> Path:
        return self.layers[-1]

    def draw_line(self) -> None:
        """Begin a new upper layer above all there is."""
        self.unmount()
        self.layers.append(self.place / f"layer{len(self.layers)}")
        self.upper.mkdir()
        work = self.place / "work"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        lower = ":".join(str(layer) for layer in reversed(self.layers[:-1]))
        options = f"lowerdir={lower},upperdir={self.upper},workdir={work},metacopy=off,redirect_dir=nofollow,index=off"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, str(self.merged)], check=True)
        self.mounted = True

    def unmount(self) -> None:
        if self.mounted:
            subprocess.run(["umount", str(self.merged)], check=True)
            self.mounted = False

    def reset(self) -> None:
        """Forget everything that was written since the line."""
        self.unmount()
        shutil.rmtree(self.upper)
        self.layers.pop()
        self.draw_line()

    def run(self, script: str, request: Mapping[str, object]) -> dict[str, Any]:
        program = Path(worktree.__file__).parent / f"{script}.py"
        done = subprocess.run(
            [sys.executable, "-I", "-S", str(program), "--root", str(self.root)],
            input=json.dumps(request).encode(),
            capture_output=True,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def checkout(
        self,
        commit: Commit,
        *,
        branch: str = "cloister/1",
        origin: str = "https://example.com/p.git",
        patch: bytes = b"",
        put: bool = True,
    ) -> str | None:
        (self.root / "cloister/exchange/patch").write_bytes(patch)
        request = {
            "directory": "project",
            "commit": commit,
            "branch": branch,
            "origin": origin,
            "put": put,
            "patch": bool(patch),
        }
        refused: str | None = self.run("checkout", request)["refused"]
        return refused

    def collect(self, base: Commit) -> dict[str, Any]:
        shutil.rmtree(self.root / "cloister/exchange")
        (self.root / "cloister/exchange").mkdir()
        write_list(self.root / "cloister/exchange/written", list_written(self.upper, "project"))
        return self.run("collect", {"directory": "project", "base": base})

    async def changes(self, base: Commit) -> Change:
        answer = self.collect(base)
        assert "refused" not in answer, answer
        return await import_change(
            self.place / "results.git",
            mirror=self.mirror,
            base=base,
            commit=Commit(answer["commit"]),
            pack=self.root / "cloister/exchange/change.pack",
            name="attempt",
        )


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A small repository with a bit of everything."""
    path = tmp_path / "source"
    (path / "src/deep").mkdir(parents=True)
    git(tmp_path, "init", "--quiet", "--initial-branch=main", str(path))
    (path / "README").write_text("hello\n")
    (path / "src/a.py").write_text("".join(f"line {number}\n" for number in range(40)))
    (path / "src/deep/b.py").write_text("b\n")
    (path / "run.sh").write_text("#!/bin/sh\n")
    (path / "run.sh").chmod(0o755)
    (path / "link").symlink_to("README")
    (path / "data.bin").write_bytes(bytes(range(256)) * 8)
    (path / ".gitignore").write_text("*.log\nbuild/\n")
    git(path, "add", "-A")
    git(path, "commit", "--quiet", "-m", "first")
    git(path, "tag", "-a", "v1", "-m", "v1")
    git(path, "branch", "feature")
    return path


class Twin:
    """The same commit in a plain clone, whose change plain git tells."""

    def __init__(self, path: Path, source: Path) -> None:
        git(path.parent, "clone", "--quiet", "--no-hardlinks", str(source), str(path))
        self.tree = path

    def stage(self) -> str:
        """Return the id of the tree that `git add --all` makes."""
        git(self.tree, "-c", "advice.addEmbeddedRepo=false", "add", "--all")
        return git(self.tree, "write-tree").decode().strip()

    def tree_after(self, diff: bytes) -> str:
        """Return the id of the tree that applying a diff to HEAD makes."""
        git(self.tree, "read-tree", "HEAD")
        if diff:
            git(self.tree, "apply", "--cached", "--binary", stdin=diff)
        return git(self.tree, "write-tree").decode().strip()

    def reset(self) -> None:
        """Go back to the commit."""
        for entry in self.tree.iterdir():
            if entry.name != ".git":
                shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        git(self.tree, "reset", "--quiet", "--hard")


def tree_of(change: Change) -> str:
    return git(change.repository, "rev-parse", f"{change.commit}^{{tree}}").decode().strip()


@pytest.fixture
def twin(source: Path, tmp_path: Path) -> Twin:
    return Twin(tmp_path / "twin", source)


@pytest.fixture
def new_disk(tmp_path: Path) -> Iterator[Callable[[Path], Disk]]:
    disks: list[Disk] = []

    def make(source: Path) -> Disk:
        disks.append(Disk(tmp_path / f"disk{len(disks)}", source))
        return disks[-1]

    yield make
    for disk in disks:
        disk.unmount()


@pytest.fixture
def disk(source: Path, new_disk: Callable[[Path], Disk]) -> Disk:
    """A disk checked out at the source's HEAD, with the line drawn."""
    made = new_disk(source)
    assert made.checkout(head_of(source)) is None
    made.draw_line()
    return made
