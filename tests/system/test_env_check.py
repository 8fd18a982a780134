"""`cloister env check`: a repository is made ready as for a task, and nothing of an agent runs."""

from .installation import QUIET, Installation


def check(installation: Installation, environment: str) -> tuple[int, str]:
    """Return the exit code and what was printed."""
    file = installation.state.parent / "environment.toml"
    file.write_text(environment)
    ran = installation.cloister("env", "check", str(file))
    return ran.code, ran.stdout + ran.stderr


def test_a_setup_that_fails_fails_the_check_with_its_last_words(installation: Installation) -> None:
    code, told = check(installation, '[setup]\nscript = "echo so it ends; exit 7"\n')
    assert code == 1, told
    assert "so it ends" in told
    assert "python3  Python 3." not in told, "no version is asked where setup failed"


def test_the_check_tells_what_setup_provides_and_keeps_its_disk(installation: Installation) -> None:
    """An agent that the environment names is not started; versions are those after setup."""
    installation.project.commit({"go": "#!/bin/sh\necho version-of-go $1\n"})
    environment = "agent = 'codex'\n[setup]\nscript = 'install -m 755 go /usr/local/bin/go'\n"
    code, cold = check(installation, environment)
    assert code == 0, cold
    assert "python3  Python 3." in cold and "go       version-of-go version" in cold, cold
    assert "snapshot: none fits (first use of this environment)" in cold and "nothing changed" in cold, cold
    assert ": saved" in cold, cold
    code, warm = check(installation, environment)
    assert code == 0 and ": hit" in warm, warm


def test_a_file_that_is_wrong_is_refused_before_anything_runs(installation: Installation) -> None:
    code, told = check(installation, QUIET + "[sets]\n")
    assert (code, "sets" in told) == (2, True), told
    assert installation.cloister("task", "list", "--json").stdout == "[]\n"
