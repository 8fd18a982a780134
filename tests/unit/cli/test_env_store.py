import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Installation

Write = Callable[[str], None]


@pytest.fixture
def editor_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Make the editor one that writes a text; its drafts are in `tmp_path / "tmp"`."""
    script, folder = tmp_path / "an editor.py", tmp_path / "tmp"
    script.write_text("import pathlib, sys; pathlib.Path(sys.argv[2]).write_text(sys.argv[1])")
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    monkeypatch.delenv("VISUAL", raising=False)

    def write(text: str) -> None:
        monkeypatch.setenv("EDITOR", shlex.join([sys.executable, str(script), text]))

    return write


@pytest.fixture
def web(installation: Installation) -> None:
    """An environment `web`, in version 1."""
    (installation.project / "web.toml").write_text("# one\n")
    assert installation.run("env", "create", "web", "--file", "web.toml").exit_code == 0


def texts(installation: Installation) -> list[str]:
    """Every version of `web`, newest first."""
    versions = json.loads(installation.run("env", "history", "web", "--json").stdout)
    return [installation.run("env", "show", "web", "--version", str(it["version"]), "--text").stdout for it in versions]


REFUSED = [
    (("create", "./web", "--file", "web.toml"), "cannot be stored"),
    (("create", "web.toml"), "cannot be stored"),
    (("create", "web", "--file", "web.toml"), "already, in version 1"),
    (("create", "web"), "already, in version 1"),
    (("create", "api", "--file", "none.toml"), "cannot read the environment file none.toml"),
    (("create", "api", "--file", "web.toml", "--repo", "."), "from --file or from --repo"),
    (("create", "api", "--ref", "main"), "--repo"),
    (("create", "api", "--repo", "."), "has no .cloister/environment.toml"),
    (("edit", "wbe"), "there is no environment 'wbe'; stored are: web"),
    (("edit", "web", "--file", "a.txt"), "a.txt, line 1, column 4: not TOML"),
    (("show", "wbe"), "there is no environment 'wbe'; stored are: web"),
    (("show", "web", "--version", "2"), "no version 2; the newest is 1"),
    (("show", "web.toml", "--version", "1"), "--version is for a stored environment"),
    (("show", "web", "--repo", ".", "--text"), "--text is for a stored environment alone"),
    (("history", "wbe"), "there is no environment 'wbe'"),
    (("delete", "wbe"), "there is no environment 'wbe'"),
    (("why", "wbe"), "there is no environment 'wbe'"),
    (("check", "wbe"), "there is no environment 'wbe'"),
]


def test_bad_input_exits_2_and_stores_nothing(installation: Installation, web: None, editor_writes: Write) -> None:
    editor_writes("# an editor was started")
    for arguments, message in REFUSED:
        done = installation.run("env", *arguments)
        assert (done.exit_code, done.stdout, message in done.stderr) == (2, "", True), done.output
    listed = json.loads(installation.run("env", "list", "--json").stdout)
    assert [(it["name"], it["version"]) for it in listed] == [("web", 1)]


def test_a_file_in_the_directory_is_no_stored_environment(installation: Installation) -> None:
    """Whoever writes a repository must not put a file of theirs in the place of the environment that is meant."""
    (installation.project / "web").write_text("# theirs\n")
    refused = installation.run("run", "--env", "web", "--command", "x", "fix")
    assert refused.exit_code == 2
    assert "./web" in refused.stderr
    assert installation.run("run", "--env", "./web", "--command", "x", "fix").exit_code == 0
    installation.run("env", "create", "web", "--file", "-", stdin="# mine\n")
    done = installation.run("run", "--env", "web", "--command", "x", "fix")
    assert "environment web, version 1" in done.stdout


def test_an_empty_store_says_how_to_begin(installation: Installation) -> None:
    done = installation.run("env", "list")
    assert (done.exit_code, done.stdout) == (0, "")
    assert "cloister env create NAME --file FILE" in done.stderr
    assert installation.run("env", "list", "--json").stdout == "[]\n"


def test_one_is_created_shown_listed_edited_and_deleted(installation: Installation) -> None:
    text = "# ä\n[secrets]\nTOKEN = {}\n"
    created = installation.run("env", "create", "web", "--file", "-", stdin=text)
    assert created.stdout.splitlines()[0] == "stored web, version 1"
    assert "cloister secret set web TOKEN" in created.stdout
    installation.run("secret", "set", "web", "TOKEN", stdin="0123456789")
    shown = installation.run("env", "show", "web").stdout
    assert "environment  web, version 1" in shown and ", from standard input" in shown
    assert "secrets      TOKEN\n" in shown and "no value" not in shown
    assert shown.endswith(f"\n\n{text}")
    same = installation.run("env", "edit", "web", "--file", "-", stdin=text)
    assert "stays in version 1" in same.stdout
    assert installation.run("env", "edit", "web", "--file", "-", stdin="").stdout == "stored web, version 2\n"
    assert installation.run("env", "list").stdout.split("\t")[:2] == ["web", "2"]
    assert texts(installation) == ["\n", text]
    told = json.loads(installation.run("env", "show", "web", "--version", "1", "--json").stdout)
    assert (told["version"], told["text"], told["origin"]) == (1, text, "standard input")
    assert told["secrets"] == [{"name": "TOKEN", "has_value": True}]
    assert installation.run("env", "delete", "web").exit_code == 2
    assert "with secret TOKEN" in installation.run("env", "delete", "web", "--with-secrets").stdout
    assert installation.run("env", "show", "web").exit_code == 2
    assert "deleted" in installation.run("env", "history", "web").stdout.splitlines()[0]


def test_with_a_repository_the_same_command_says_what_setup_would_do(installation: Installation) -> None:
    installation.run("env", "create", "web", "--file", "-", stdin='[setup]\nscript = "make deps"\n')
    for options in (("--repo", "."), ("--ref", "main")):
        shown = installation.run("env", "show", "web", *options).stdout
        assert shown.startswith("environment web, version 1, image base, at main\nsetup: the environment's own script")
    assert installation.run("env", "show", "web", "--script").stdout == "make deps\n"
    told = json.loads(installation.run("env", "show", "web", "--repo", ".", "--json").stdout)
    assert told["environment_source"] == {"kind": "stored", "version": 1, "file": None, "commit": None}


def test_the_file_of_a_commit_is_taken_and_not_that_of_the_work_tree(installation: Installation) -> None:
    file = installation.project / ".cloister" / "environment.toml"
    file.parent.mkdir()
    file.write_text("# committed\n")
    installation.git("add", ".")
    installation.git("commit", "--quiet", "--message=environment")
    file.write_text("# not yet\n")
    assert installation.run("env", "create", "web", "--repo", ".").exit_code == 0
    assert texts(installation) == ["# committed\n"]
    commit = installation.git("rev-parse", "HEAD")[:12]
    assert f"from .cloister/environment.toml at {commit} of" in installation.run("env", "show", "web").stdout


def test_tasks_show_the_version_they_ran_with(installation: Installation, web: None) -> None:
    shown = {}
    for env in ("web", "web.toml", None):
        options = ("--env", env) if env else ()
        task = installation.run("run", *options, "--command", "x", "fix").stdout.splitlines()[0].removeprefix("task ")
        shown[env] = installation.run("task", "show", task).stdout
    assert f" of {installation.project}, environment web (version 1)\n" in shown["web"]
    assert f" of {installation.project} (file web.toml)\n" in shown["web.toml"]
    assert f" of {installation.project}\n" in shown[None]


def test_without_an_editor_the_way_out_is_named(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("VISUAL", "EDITOR"):
        monkeypatch.delenv(variable, raising=False)
    done = installation.run("env", "create", "web")
    assert done.exit_code == 2
    assert "--file FILE" in done.stderr


def test_a_text_is_written_in_an_editor(
    installation: Installation, web: None, editor_writes: Write, tmp_path: Path
) -> None:
    editor_writes("# two\n")
    assert installation.run("env", "edit", "web").stdout == "stored web, version 2\n"
    assert installation.run("env", "edit", "web").stdout == "nothing was changed\n"
    editor_writes("# new\n")
    assert installation.run("env", "create", "api").stdout == "stored api, version 1\n"
    assert texts(installation) == ["# two\n", "# one\n"]
    assert list((tmp_path / "tmp").iterdir()) == [], "what is stored needs no draft"


@pytest.mark.parametrize("wrong", ["imge = 1\n", "# ä \x01\n", " \n"])
def test_a_refused_text_is_not_lost(
    installation: Installation, web: None, editor_writes: Write, tmp_path: Path, wrong: str
) -> None:
    editor_writes(wrong)
    done = installation.run("env", "edit", "web")
    assert done.exit_code == 2
    (draft,) = (tmp_path / "tmp").glob("*/web.toml")
    assert f"cloister env edit web --file {draft}" in done.stderr
    assert texts(installation) == ["# one\n"]
    draft.write_text("# corrected\n")
    assert installation.run("env", "edit", "web", "--file", str(draft)).exit_code == 0
    assert texts(installation) == ["# corrected\n", "# one\n"]


def test_on_a_terminal_the_user_may_go_on(
    installation: Installation, web: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second time the editor finds the refused text, and not the one it began with."""
    script = tmp_path / "editor.sh"
    script.write_text('if grep -q imge "$1"; then sed -i s/imge/image/ "$1"; else echo "imge = \'base\'" >"$1"; fi\n')
    monkeypatch.setenv("VISUAL", f"sh {script}")
    monkeypatch.setattr("cloister.cli.editor._is_interactive", lambda: True)
    done = installation.run("env", "edit", "web", stdin="y\n")
    assert done.exit_code == 0, done.output
    assert "unknown key `imge`" in done.stderr
    assert texts(installation) == ["image = 'base'\n", "# one\n"]


def test_an_editor_that_fails_stores_nothing(
    installation: Installation, web: None, editor_writes: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for editor, message in {"false": "ended with 1", "/none/editor": "ended with 127", "'": "ended with 2"}.items():
        monkeypatch.setenv("EDITOR", editor)
        done = installation.run("env", "edit", "web")
        assert (done.exit_code, message in done.stderr) == (2, True), done.output
    assert texts(installation) == ["# one\n"]
    assert list((tmp_path / "tmp").iterdir()) == []


def test_two_who_edit_the_same_version_do_not_overwrite_each_other(
    installation: Installation, web: None, editor_writes: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def edit_while_another_does(editor: str, draft: Path) -> None:
        assert installation.run("env", "edit", "web", "--file", "-", stdin="# theirs\n").exit_code == 0
        draft.write_text("# mine\n")

    editor_writes("")
    monkeypatch.setattr("cloister.cli.editor._run", edit_while_another_does)
    done = installation.run("env", "edit", "web")
    assert done.exit_code == 2
    assert "version 2" in done.stderr and "follows version 1" in done.stderr
    assert texts(installation) == ["# theirs\n", "# one\n"]
    (draft,) = (tmp_path / "tmp").glob("*/web.toml")
    assert draft.read_text() == "# mine\n"
