import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister.model.diff import changed_paths

NAMES = ["plain", "with blank", "b/b", "a b/c", "deep/er/file", " leading", "dot.", "x b/x b/x"]


@pytest.mark.parametrize("name", NAMES)
def test_paths_are_those_that_git_changed(tmp_path: Path, name: str) -> None:
    def git(*arguments: str) -> bytes:
        names = ("-c", "user.name=A", "-c", "user.email=a@example.com")
        return subprocess.run(["git", *names, *arguments], cwd=tmp_path, check=True, capture_output=True).stdout

    git("init", "--quiet")
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_bytes(b"diff --git a/false b/false\n")
    (tmp_path / "binary").write_bytes(bytes(range(256)) * 40)
    git("add", ".")
    assert changed_paths(git("diff", "--cached", "--binary", "--no-renames")) == sorted(["binary", name])


def test_what_git_quotes_stays_quoted() -> None:
    header = b'diff --git "a/n\\303\\266 b/\\n" "b/n\\303\\266 b/\\n"\nnew file mode 100644\n'
    assert changed_paths(header) == ['"n\\303\\266 b/\\n"']
    assert changed_paths(b"") == []
    assert changed_paths(b"diff --git a/\xff b/\xff\n") == ["\udcff"]


@given(st.text(alphabet="ab /.", min_size=1))
def test_any_path_is_read_back(path: str) -> None:
    assert changed_paths(f"diff --git a/{path} b/{path}\n".encode()) == [path]
