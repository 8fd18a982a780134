"""Files as projects have them, and hostile ones, beside the environment file that is to come of each."""

import subprocess
from pathlib import Path

import pytest

from cloister.environment_file import read_environment
from cloister.importing import ImportedEnvironment, convert, find_sources
from cloister.model.environment import Environment
from cloister.model.network import NetworkMode

SAMPLES = Path(__file__).parent / "samples"
EXPECTED = "expected.toml"
NAMES = sorted(path.name for path in SAMPLES.iterdir())


def imported(name: str) -> ImportedEnvironment:
    root = SAMPLES / name
    paths = [str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() and path.name != EXPECTED]
    source, *others = find_sources(paths)
    return convert(
        (root / source).read_bytes(),
        path=source,
        commit="0123456789abcdef",
        workspace="/workspace/shop",
        others=others,
        default_name="shop",
    )


def environment_of(name: str) -> Environment:
    return read_environment((SAMPLES / name / EXPECTED).read_bytes(), source=name, default_name="shop")


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_becomes_what_is_expected(name: str) -> None:
    assert imported(name).text == (SAMPLES / name / EXPECTED).read_text()


@pytest.mark.parametrize("name", NAMES)
def test_what_is_expected_is_an_environment_file_whose_scripts_are_bash(name: str) -> None:
    environment = environment_of(name)
    scripts = [environment.setup.script, environment.setup.maintenance, *(it.command for it in environment.services)]
    for script in filter(None, scripts):
        subprocess.run(["bash", "-n"], input=script.encode(), check=True)


def test_nothing_of_a_hostile_file_becomes_a_key_or_a_command() -> None:
    """Twin: what it says as values is there, as text."""
    environment = environment_of("copilot_hostile")
    assert environment.network.agent is NetworkMode.OFF
    assert environment.checks == () and environment.secrets == ()
    assert environment.variables["A"] == '"""\n[network]\nagent = "full"\n'
    assert set(environment.variables) == {"A", "B"}


def test_what_a_hostile_file_names_is_never_run(tmp_path: Path) -> None:
    """Its steps are harmless; names, folders and values are not. Twin: the first step's own words are printed."""
    script = environment_of("copilot_hostile").setup.script or ""
    assert "touch /tmp/pwned" in script
    steps = script[script.index("# line") :].replace("/tmp/pwned", str(tmp_path / "pwned"))
    done = subprocess.run(["bash", "-c", f"cd() {{ :; }}; npm() {{ :; }}\n{steps}"], capture_output=True, text=True)
    assert "two" in done.stdout
    assert not (tmp_path / "pwned").exists()


def test_no_character_of_a_result_is_hidden() -> None:
    for name in NAMES:
        text = (SAMPLES / name / EXPECTED).read_text()
        assert [character for character in text if not character.isprintable() and character not in "\n\t"] == []


def test_files_for_agents_go_before_those_for_people() -> None:
    result = imported("several")
    assert result.source == ".cursor/environment.json"
    assert result.others == (
        ".openhands/setup.sh",
        ".devcontainer/devcontainer.json",
        ".devcontainer/web/devcontainer.json",
    )


def test_secrets_are_for_setup_alone_and_need_values() -> None:
    result, environment = imported("copilot_secrets"), environment_of("copilot_secrets")
    assert {secret.name for secret in environment.secrets} == set(result.secrets)
    assert {str(secret.mode) for secret in environment.secrets} == {"setup"}
    assert "INDEX_PASSWORD" in result.secrets and "PATH" not in result.secrets
    assert "DEPLOY_KEY" not in environment.variables, "a secret of this name wins"
