"""`cloister env import`: where it writes, and where it does not."""

import json
import os
from pathlib import Path

import pytest

from cloister.environment_file import REPOSITORY_FILE

from .conftest import Installation

SOURCE = ".openhands/setup.sh"


@pytest.fixture
def project(installation: Installation) -> Path:
    """The work tree, with a file to import committed."""
    source = installation.project / SOURCE
    source.parent.mkdir()
    source.write_text("make deps\n")
    installation.git("add", ".")
    installation.git("commit", "--quiet", "--message=two")
    source.write_text("not committed\n")
    return installation.project


def test_it_writes_into_the_work_tree_what_the_commit_says(installation: Installation, project: Path) -> None:
    done = installation.run("env", "import")
    assert done.exit_code == 0, done.output
    text = (project / REPOSITORY_FILE).read_text()
    assert "make deps" in text and "not committed" not in text
    assert f"wrote {project / REPOSITORY_FILE} from {SOURCE}" in done.output.replace("\n", "")
    assert list((project / ".cloister").iterdir()) == [project / REPOSITORY_FILE], "no draft is left"
    assert (project / REPOSITORY_FILE).stat().st_mode & 0o777 == 0o644


def test_nothing_is_overwritten_unasked(installation: Installation, project: Path) -> None:
    (project / ".cloister").mkdir()
    (project / REPOSITORY_FILE).write_text("mine")
    (project / "mine.toml").write_text("mine")
    for options in ([], ["--output", "mine.toml"]):
        done = installation.run("env", "import", *options)
        assert (done.exit_code, "is there already" in done.output) == (2, True), done.output
    assert (project / REPOSITORY_FILE).read_text() == (project / "mine.toml").read_text() == "mine"
    for options in ([], ["--output", "mine.toml"]):
        assert installation.run("env", "import", "--force", *options).exit_code == 0
    assert "make deps" in (project / REPOSITORY_FILE).read_text()
    assert "make deps" in (project / "mine.toml").read_text()


@pytest.mark.parametrize("force", [[], ["--force"]])
@pytest.mark.parametrize("name", [".cloister", REPOSITORY_FILE, "out.toml"])
@pytest.mark.parametrize("kind", ["file", "folder", "nowhere"])
def test_no_link_is_followed(
    installation: Installation, project: Path, tmp_path: Path, name: str, force: list[str], kind: str
) -> None:
    """A repository's link may lead anywhere. Twin: the tests above write to the same names."""
    victim = tmp_path / "victim"
    if kind == "file":
        victim.write_text("precious")
    elif kind == "folder":
        victim.mkdir()
    link = project / name
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(victim)
    options = ["--output", name] if name == "out.toml" else []
    done = installation.run("env", "import", *options, *force)
    assert (done.exit_code, "nothing was written" in done.output) == (2, True), done.output
    assert link.is_symlink()
    assert not victim.is_file() or victim.read_text() == "precious"
    assert not victim.is_dir() or list(victim.iterdir()) == []
    assert victim.exists() == (kind != "nowhere")


def test_a_repository_elsewhere_is_printed(installation: Installation, project: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare.git"
    installation.git("clone", "--quiet", "--bare", ".", str(bare))
    for options in (["--repo", str(bare)], ["--repo", f"file://{project}"], ["--output", "-"]):
        done = installation.run("env", "import", *options)
        assert done.exit_code == 0, done.output
        assert "make deps" in done.stdout and done.stdout.startswith("# Imported"), done.output
    assert not (project / ".cloister").exists() and not (bare / ".cloister").exists()


def test_json_says_what_was_made_of_each_line(installation: Installation, project: Path) -> None:
    done = installation.run("env", "import", "--json", "--output", "-")
    answer = json.loads(done.stdout)
    assert (answer["source"], answer["written"]) == (SOURCE, None)
    assert answer["taken"][0]["where"] == SOURCE
    assert "make deps" in answer["text"]


def test_nothing_to_import_changes_nothing(installation: Installation) -> None:
    done = installation.run("env", "import")
    assert (done.exit_code, "nothing to import" in done.output) == (2, True), done.output
    assert not (installation.project / ".cloister").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files away")
def test_what_root_writes_belongs_to_the_work_trees_owner(installation: Installation, project: Path) -> None:
    os.chown(project, 12345, 12346)
    done = installation.run("env", "import")
    assert done.exit_code == 0, done.output
    for path in (project / ".cloister", project / REPOSITORY_FILE):
        status = path.stat()
        assert (status.st_uid, status.st_gid) == (12345, 12346)
