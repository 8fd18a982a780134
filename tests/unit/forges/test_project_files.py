from pathlib import Path

import pytest

from cloister.errors import RepositoryError
from cloister.forges.project_files import KEPT_AS, MOST_FILES, kept_project_files, read_project_files
from cloister.git import run_git
from cloister.model.project import LARGEST_MANIFEST_BYTES
from cloister.model.sandbox import Commit


async def commit(mirror: Path, files: dict[str, bytes]) -> Commit:
    """Make a bare repository with one commit of these files; a path may be anything that git takes."""
    await run_git(["init", "--quiet", "--bare", str(mirror)], git_dir=mirror)
    stream = b"commit refs/heads/main\ncommitter a <a@example.com> 0 +0000\ndata 1\nx\n"
    for path, content in files.items():
        stream += b'M 100644 inline "%s"\ndata %d\n%s\n' % (path.encode(), len(content), content)
    await run_git(["fast-import", "--quiet"], git_dir=mirror, stdin=stream)
    return Commit((await run_git(["rev-parse", "main"], git_dir=mirror)).stdout.decode().strip())


async def test_texts_are_read_where_they_are_needed(tmp_path: Path) -> None:
    files = {
        "package.json": b"{}",
        "copy/package.json": b"{}",
        "package-lock.json": b"never read",
        "setup.py": b"#" * (LARGEST_MANIFEST_BYTES + 1),
        "pyproject.toml": b"\xff",
        "a\\nb/go.mod": b"module x",
        "README.md": b"read me",
        f"x100644 blob {'1' * 40}\\tgo.sum": b"an entry in a name",
    }
    head = await commit(tmp_path / "x.git", files)
    read = await read_project_files(tmp_path / "x.git", head)
    assert {path: file.text for path, file in read.files.items()} == {
        "a\nb/go.mod": "module x",
        "copy/package.json": "{}",
        "package-lock.json": "",
        "package.json": "{}",
        "pyproject.toml": "\ufffd",
        "setup.py": "",
    }


@pytest.mark.parametrize("damaged", ["", "{", "[]", '{"package.json": 7}', '{"package.json": ["only a blob"]}'])
async def test_what_was_read_is_kept_and_is_not_believed_when_it_is_damaged(tmp_path: Path, damaged: str) -> None:
    mirror = tmp_path / "x.git"
    head = await commit(mirror, {"package.json": b"{}"})
    assert kept_project_files(mirror, head) is None
    read = await read_project_files(mirror, head)
    assert kept_project_files(mirror, head) == read
    (mirror / KEPT_AS / f"{head}.json").write_text(damaged)
    assert kept_project_files(mirror, head) is None


async def test_a_commit_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    await commit(tmp_path / "x.git", {})
    with pytest.raises(RepositoryError):
        await read_project_files(tmp_path / "x.git", Commit("0" * 40))


async def test_more_projects_than_people_have_are_cut(tmp_path: Path) -> None:
    head = await commit(tmp_path / "x.git", {f"p{number}/go.mod": b"" for number in range(MOST_FILES + 1)})
    assert len((await read_project_files(tmp_path / "x.git", head)).files) == MOST_FILES
