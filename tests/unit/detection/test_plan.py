"""What a project's own files say, and what automatic setup makes of it. No file here can make it fail."""

import subprocess
from dataclasses import replace
from typing import Any

import pytest

from cloister.detection import choose_scripts, plan_setup
from cloister.model.environment import Environment, NetworkRecipe, SetupRecipe
from cloister.model.network import NetworkMode
from cloister.model.project import LOCK_FILES, ProjectFile, ProjectFiles, is_project_file

BUILD = '[build-system]\nrequires = ["setuptools"]\n'

MAVEN = "--batch-mode --quiet test -Dtest='*#none' -DfailIfNoTests=false -Dsurefire.failIfNoSpecifiedTests=false"
GRADLE_SCRIPT = (
    ': echo \'allprojects { tasks.create("cloisterFetch").doLast { project.configurations.findAll { it.canBeResolved }'
    ".each { it.incoming.artifactView { lenient(true) }.files.files } } }' >/tmp/cloister-fetch.gradle"
)
GRADLE = (
    "--no-daemon --console=plain -Dorg.gradle.configuration-cache=false --init-script /tmp/cloister-fetch.gradle "
    "cloisterFetch testClasses"
)


def of(files: dict[str, str]) -> ProjectFiles:
    """A commit with these files; the identity of each is its content."""
    return ProjectFiles({path: ProjectFile(blob=content, text=content) for path, content in files.items()})


def setup(**keys: Any) -> Environment:
    return Environment(name="shop", setup=SetupRecipe(**keys))


PROBE = "touch() { echo RAN >&2; }"
"""On standard error, which a substitution does not swallow."""


def commands(files: dict[str, str]) -> list[str]:
    return [f"{step.folder}: {'; '.join(step.commands)}" for step in plan_setup(of(files)).steps]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, []),
        ({"package.json": "{}"}, []),
        ({"package.json": '{"scripts": {"test": "true"}}'}, []),
        ({"pyproject.toml": "[tool.ruff]\nline-length = 100\n"}, []),
        # npm
        ({"package.json": "{}", "package-lock.json": ""}, [": npm ci --no-fund --no-audit"]),
        ({"package.json": "{}", "npm-shrinkwrap.json": ""}, [": npm ci --no-fund --no-audit"]),
        (
            {"package.json": '{"devDependencies": {"a": "1"}}'},
            [": npm install --no-package-lock --no-fund --no-audit"],
        ),
        # the others win by their lock files, or by what package.json declares
        ({"package.json": "{}", "pnpm-lock.yaml": ""}, [": pnpm install --frozen-lockfile"]),
        (
            {"package.json": "{}", "yarn.lock": ""},
            [': npm_config_registry="$(npm config get registry)" yarn install --non-interactive --frozen-lockfile'],
        ),
        (
            {"package.json": "{}", "yarn.lock": "", ".yarnrc.yml": "npmRegistryServer: https://npm.example.com"},
            [": yarn install --immutable"],
        ),
        (
            {"package.json": '{"packageManager": "yarn@4.1.0"}', "yarn.lock": ""},
            [': YARN_NPM_REGISTRY_SERVER="$(npm config get registry)" yarn install --immutable'],
        ),
        ({"package.json": "{}", "bun.lock": ""}, [": bun install --frozen-lockfile"]),
        (
            {"package.json": '{"packageManager": "pnpm@9.1.0"}', "pnpm-lock.yaml": "", "package-lock.json": ""},
            [": pnpm install --frozen-lockfile"],
        ),
        # workspaces and monorepos
        (
            {"package.json": '{"workspaces": ["a"]}', "package-lock.json": "", "a/package.json": '{"dependencies":{}}'},
            [": npm ci --no-fund --no-audit"],
        ),
        (
            {
                "web/package.json": "{}",
                "web/package-lock.json": "",
                "api/pyproject.toml": BUILD,
                "api/uv.lock": "",
            },
            ["api: uv sync --frozen --inexact --all-packages", "web: npm ci --no-fund --no-audit"],
        ),
        # Python
        ({"requirements.txt": ""}, [": pip install -r requirements.txt"]),
        (
            {"requirements.txt": "", "requirements-dev.txt": "", "requirements-docs.txt": ""},
            [": pip install -r requirements.txt -r requirements-dev.txt"],
        ),
        (
            {"requirements/base.txt": "", "requirements/test.txt": "", "requirements/prod.txt": ""},
            [": pip install -r requirements/base.txt -r requirements/test.txt"],
        ),
        ({"setup.py": ""}, [": pip install --editable ."]),
        (
            {"setup.py": "setup(extras_require={'docs': [], 'tests': ['pytest']})"},
            [": pip install --editable '.[tests]'"],
        ),
        (
            {"setup.py": "setup()", "setup.cfg": "[options.extras_require]\ntest =\n  pytest\n$(touch x)test =\n"},
            [": pip install --editable '.[test]'"],
        ),
        ({"requirements.txt": "", "docs/requirements.txt": ""}, [": pip install -r requirements.txt"]),
        ({"docs/requirements.txt": "", "web/doc/requirements/dev.txt": ""}, []),
        (
            {"pyproject.toml": '[project]\nname="a"\n[project.optional-dependencies]\ntest=[]\ndocs=[]\ndev=[]\n'},
            [": pip install --editable '.[test,dev]'"],
        ),
        (
            {"pyproject.toml": BUILD + '[dependency-groups]\ntest=["pytest>=8", {include-group="x"}]\nx=["a"]\n'},
            [": pip install 'pytest>=8' a --editable ."],
        ),
        (
            {"pyproject.toml": BUILD + "[dependency-groups]\ntest=[]\ndev=[]\n", "uv.lock": ""},
            [": uv sync --frozen --inexact --all-packages --group test"],
        ),
        (
            {
                "pyproject.toml": "[tool.poetry.dependencies]\npython='*'\n[tool.poetry.group.test]\noptional=true\n"
                "[tool.poetry.extras]\ndev=[]\n",
                "poetry.lock": "",
            },
            [": poetry install --no-interaction --with test --extras dev"],
        ),
        (
            {"pyproject.toml": "[project]\nname='a'\n[tool.poetry.group.test.dependencies]\npytest='*'\n"},
            [": poetry install --no-interaction"],
        ),
        (
            {"pyproject.toml": "[project]\nname='a'\n[build-system]\n[tool.poetry]\npackages=[]\n"},
            [": pip install --editable ."],
        ),
        ({"Pipfile": "", "Pipfile.lock": ""}, [": pipenv sync --dev"]),
        ({"Pipfile": ""}, [": pipenv install --dev --skip-lock"]),
        # the rest
        ({"go.mod": "", "go.sum": "", "tools/go.mod": ""}, [": go mod download"]),
        ({"Cargo.toml": "", "Cargo.lock": ""}, [": cargo fetch --locked"]),
        ({"Cargo.toml": ""}, [": cargo fetch"]),
        ({"Gemfile": "", "Gemfile.lock": ""}, [": BUNDLE_FROZEN=true bundle install"]),
        ({"composer.json": "", "composer.lock": ""}, [": composer install --no-interaction --no-progress"]),
        ({"pom.xml": "", "core/pom.xml": ""}, [f": mvn {MAVEN}"]),
        ({"pom.xml": "", "mvnw": ""}, [f": sh ./mvnw {MAVEN}"]),
        ({"build.gradle.kts": ""}, [f"{GRADLE_SCRIPT}; gradle {GRADLE}"]),
        ({"app/build.gradle": "", "app/gradlew": ""}, [f"app{GRADLE_SCRIPT}; sh ./gradlew {GRADLE}"]),
    ],
)
def test_each_manager_is_told_from_its_files(files: dict[str, str], expected: list[str]) -> None:
    assert commands(files) == expected


@pytest.mark.parametrize(
    ("files", "word"),
    [
        ({"package.json": "{"}, "not valid JSON"),
        ({"package.json": "[]"}, "no object"),
        ({"package.json": "[" * 100_000}, "not valid JSON"),
        ({"pyproject.toml": "= 1"}, "not valid TOML"),
        ({"environment.yml": ""}, "conda is not supported"),
    ],
)
def test_what_cannot_be_read_or_done_is_said_and_nothing_runs(files: dict[str, str], word: str) -> None:
    plan = plan_setup(of(files))
    assert plan.script is None
    (note,) = plan.notes
    assert word in note


@pytest.mark.parametrize(
    "files",
    [
        {"package.json": '{"packageManager": "pnpm@1.0.0; touch /tmp/x", "dependencies": {"a": "1"}}'},
        {"package.json": '{"packageManager": 7, "dependencies": 7, "workspaces": 7}'},
        {"pyproject.toml": 'project = 1\ndependency-groups = 2\n[build-system]\n[tool]\npoetry = "x"\n'},
        {"pyproject.toml": BUILD + '[dependency-groups]\ntest = [{include-group = "test"}, 7, "--index-url x"]\n'},
        {"pyproject.toml": BUILD + '[project.optional-dependencies]\n"test; touch x" = []\n'},
        {"$(touch x)/requirements.txt": "", "a'b/package.json": "{}", "a'b/package-lock.json": ""},
        {"-rf/requirements.txt": "", "requirements/$(touch x)-test.txt": ""},
        {"a\ntouch x #/requirements.txt": ""},
        {"requirements/test.txt": "", "requirements/$(touch x)_test.txt": "", "requirements/a;touch x;dev.txt": ""},
    ],
)
def test_names_that_a_stranger_chose_are_never_commands(files: dict[str, str], tmp_path: object) -> None:
    """The shell itself splits the script: no word of it may be what the stranger wanted to run."""
    script = plan_setup(of(files)).script or ""
    shadow = "apt-get npm pip python3 pnpm yarn uv poetry cd".split()
    functions = "".join(f"{name}() {{ :; }}\n" for name in shadow)
    ended = subprocess.run(
        ["bash", "-c", f"{functions}{PROBE}\n{script}"],
        capture_output=True,
        text=True,
        cwd=str(tmp_path),
        check=False,
    )
    assert "RAN" not in ended.stderr
    assert "syntax" not in ended.stderr


def test_the_twin_of_the_shell_probe_notices_a_command() -> None:
    ended = subprocess.run(
        ["bash", "-c", f"{PROBE}\npip() {{ :; }}\npip install $(touch x)"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "RAN" in ended.stderr


def test_python_goes_into_an_environment_that_the_agent_finds_active() -> None:
    plan = plan_setup(of({"requirements.txt": ""}))
    assert plan.path == ("/opt/venv/bin",)
    assert plan.variables["VIRTUAL_ENV"] == "/opt/venv"
    assert plan_setup(of({"package.json": "{}", "yarn.lock": ""})).path == ()


def test_a_script_of_the_environments_own_is_the_only_one() -> None:
    files = of({"package.json": "{}", "package-lock.json": "1"})
    chosen = choose_scripts(setup(script="make deps"), base=files, asked=files)
    assert (chosen.setup, chosen.catch_up, chosen.plan.steps) == ("make deps", None, ())
    off = choose_scripts(setup(automatic=False), base=files, asked=files)
    assert (off.setup, off.catch_up, off.dependencies) == (None, None, "")


def test_without_a_network_in_setup_nothing_is_tried_and_that_is_said() -> None:
    files = of({"package.json": "{}", "package-lock.json": "1"})
    offline = replace(setup(), network=NetworkRecipe(setup=NetworkMode.OFF))
    chosen = choose_scripts(offline, base=files, asked=files)
    assert (chosen.setup, chosen.plan.steps) == (None, ())
    assert "the setup network is off" in chosen.plan.notes[0]
    assert choose_scripts(offline, base=of({}), asked=of({})).plan.notes == ()
    own = replace(offline, setup=SetupRecipe(script="make deps"))
    assert choose_scripts(own, base=files, asked=files).setup == "make deps"


def test_other_dependencies_at_the_tasks_commit_need_a_script_there() -> None:
    base, asked = of({"package.json": "{}", "package-lock.json": "1"}), of({"package.json": "{}"})
    other = of({"package.json": '{"version": "2"}', "package-lock.json": "2"})
    chosen = choose_scripts(setup(), base=base, asked=other)
    assert (chosen.catch_up, chosen.differing) == (chosen.setup, ("package-lock.json",))
    assert choose_scripts(setup(maintenance="m"), base=base, asked=other).catch_up == "m"
    assert choose_scripts(setup(), base=base, asked=base).catch_up is None
    assert choose_scripts(setup(), base=base, asked=asked).catch_up is None  # nothing is declared any more


def test_a_file_that_requirements_may_include_counts_and_is_not_installed_itself() -> None:
    files = {
        "requirements.txt": "-c constraints.txt\n",
        "constraints.txt": "",
        "constraints-dev.txt": "",
        "docs-requirements.txt": "",
    }
    (step,) = plan_setup(of(files)).steps
    assert step.commands == ("pip install -r requirements.txt",)
    assert set(step.inputs) == set(files)
    assert plan_setup(of({"constraints.txt": ""})).steps == ()


def test_the_key_changes_with_what_the_default_branch_locks() -> None:
    one, two = (of({"package.json": "{}", "package-lock.json": text}) for text in "12")
    digests = {choose_scripts(setup(), base=base, asked=one).dependencies for base in (one, two)}
    assert len(digests) == 2
    manual = {choose_scripts(setup(script="x"), base=base, asked=one).dependencies for base in (one, two)}
    assert len(manual) == 2


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("package.json", True),
        ("packages/web/package.json", True),
        ("requirements/dev.txt", True),
        ("node_modules/a/package.json", False),
        ("tests/fixtures/package.json", False),
        ("a/b/c/d/e/package.json", False),
        ("notes.txt", False),
        ("README.md", False),
    ],
)
def test_which_files_are_the_projects_own(path: str, expected: bool) -> None:
    assert is_project_file(path) is expected
    assert all(map(is_project_file, LOCK_FILES))


def test_a_wrapper_needs_a_compiler_and_not_the_tool_and_its_version_is_an_input() -> None:
    version = "gradle/wrapper/gradle-wrapper.properties"
    (step,) = plan_setup(of({"build.gradle": "", "gradlew": "", version: ""})).steps
    assert step.inputs == ("build.gradle", version)
    assert step.prelude[0].startswith("command -v javac >/dev/null || ")
    (without,) = plan_setup(of({"build.gradle": "", version: ""})).steps
    assert without.inputs == ("build.gradle",)
    assert without.prelude[0].startswith("command -v gradle >/dev/null || ")
