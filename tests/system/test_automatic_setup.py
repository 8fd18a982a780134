"""Projects of each kind, with a real lock file: installed from the real registries, then their tests run offline."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import anyio
import pytest

from cloister.model.task import Verdict

from .installation import Finished, Installation

LOCKS = Path(__file__).parent / "locks"
TESTED_IN_NODE = {"a.test.js": 'require("node:test")("odd", () => { if (!require("is-odd")(3)) throw 1 })\n'}
PACKAGE = '{"name": "js", "version": "1.0.0", "devDependencies": {"is-odd": "3.0.1"}%s}\n'
TESTED_IN_PYTHON = {
    "shop.py": "import click\n\n\ndef total(prices):\n    return sum(prices)\n",
    "test_shop.py": "from shop import total\n\n\ndef test_total():\n    assert total([1, 2]) == 3\n",
}
BUILD = '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
PROJECT = '[project]\nname = "shop"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = ["click"]\n'
COMPILED = "ls /opt/venv/lib/python3*/site-packages/click/__pycache__/core.*.pyc"
MODULES = '[tool.setuptools]\npy-modules = ["shop"]\n'


def registry_of_npm() -> str:
    asked = subprocess.run(["npm", "config", "get", "registry"], capture_output=True, text=True, check=True)
    return asked.stdout.strip().rstrip("/")


def index_of_pip() -> str:
    told = subprocess.run(
        [sys.executable, "-m", "pip", "config", "get", "global.index-url"], capture_output=True, text=True, check=False
    )
    default = "from pip._internal.models.index import PyPI; print(PyPI.simple_url)"
    asked = subprocess.run([sys.executable, "-c", default], capture_output=True, text=True, check=True)
    return (told.stdout or asked.stdout).strip()


def lock(name: str) -> str:
    return (LOCKS / name).read_text().replace("{registry}", registry_of_npm())


async def set_up_and_test(installation: Installation, files: Mapping[str, str], test: str) -> tuple[Finished, Finished]:
    """Run the project's tests without an environment file, cold and then warm; the network of the agent is off."""
    installation.project.commit(dict(files))
    async with installation.opened() as running:
        cold, warm = [await running.run(test, environment="") for _ in range(2)]
    for finished in (cold, warm):
        assert finished.outcome.verdict is Verdict.SUCCEEDED, finished.outcome.reason
    assert "snapshot_hit" in warm.names() and warm.printed("setup") == ""
    return cold, warm


def planned(finished: Finished) -> list[str]:
    (event,) = [event for event in finished.events if event["event"] == "setup_planned"]
    return list(event["steps"])


@pytest.mark.parametrize(
    ("tool", "files"),
    [
        ("npm", {"package.json": PACKAGE % "", "package-lock.json": "package-lock.json"}),
        ("pnpm", {"package.json": PACKAGE % "", "pnpm-lock.yaml": "pnpm-lock.yaml"}),
        ("yarn", {"package.json": PACKAGE % "", "yarn.lock": "yarn.lock"}),
        ("bun", {"package.json": PACKAGE % "", "bun.lock": "bun.lock"}),
        (
            "yarn berry",
            {
                "package.json": PACKAGE % ', "packageManager": "yarn@4.5.0"',
                "yarn.lock": "berry.lock",
                ".yarnrc.yml": "nodeLinker: node-modules\n",
            },
        ),
    ],
)
async def test_javascript(installation: Installation, tool: str, files: dict[str, str]) -> None:
    read = {path: lock(text) if (LOCKS / text.strip()).is_file() else text for path, text in files.items()}
    ignored = {".gitignore": "node_modules\n.yarn\n"}
    cold, _ = await set_up_and_test(installation, {**read, **ignored, **TESTED_IN_NODE}, "node --test")
    (step,) = planned(cold)
    assert step.startswith(f"{tool} (")
    assert cold.diff == ""


async def test_pip(installation: Installation) -> None:
    extras = '[project.optional-dependencies]\ntest = ["pytest"]\n'
    files = {
        "pyproject.toml": BUILD + PROJECT + extras + MODULES,
        **TESTED_IN_PYTHON,
        ".gitignore": "__pycache__\n.pytest_cache\n*.egg-info\n",
    }
    cold, _ = await set_up_and_test(installation, files, "pytest -q && python -c 'import sys; print(sys.prefix)'")
    assert cold.printed("agent").endswith("/opt/venv\n")
    assert planned(cold) == ["pip (pyproject.toml): pip install --editable '.[test]'"]
    assert cold.diff == ""


async def test_pip_with_requirements(installation: Installation) -> None:
    files = {"requirements.txt": "click\n", "requirements-dev.txt": "pytest\n", **TESTED_IN_PYTHON}
    await set_up_and_test(installation, files, "python -m pytest -q")


@pytest.fixture(scope="module")
def lockers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with uv, poetry and pipenv, to make lock files with: they name the registry of this machine."""
    venv = tmp_path_factory.mktemp("lockers") / "venv"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    subprocess.run([venv / "bin/pip", "install", "--quiet", "uv", "poetry", "pipenv"], check=True)
    yield venv / "bin"


@pytest.mark.parametrize(
    ("tool", "files", "prepared"),
    [
        (
            "uv",
            {"pyproject.toml": BUILD + PROJECT + '[dependency-groups]\ntest = ["pytest"]\n' + MODULES},
            COMPILED,
        ),
        (
            "poetry",
            {
                "pyproject.toml": '[tool.poetry]\nname = "shop"\nversion = "1"\ndescription = ""\nauthors = []\n'
                'packages = [{ include = "shop.py" }]\n[tool.poetry.dependencies]\npython = "^3.11"\nclick = "*"\n'
                "[tool.poetry.group.test]\noptional = true\n"
                '[tool.poetry.group.test.dependencies]\npytest = "*"\n'
                '[build-system]\nrequires = ["poetry-core"]\nbuild-backend = "poetry.core.masonry.api"\n'
                '[[tool.poetry.source]]\nname = "index"\nurl = "{index}"\npriority = "primary"\n'
            },
            "true",
        ),
        (
            "pipenv",
            {
                "Pipfile": '[[source]]\nname = "index"\nurl = "{index}"\nverify_ssl = true\n'
                '[packages]\nclick = "*"\n[dev-packages]\npytest = "*"\n'
            },
            COMPILED,
        ),
    ],
)
async def test_python_with_a_lock_file(
    installation: Installation, lockers: Path, tool: str, files: dict[str, str], prepared: str
) -> None:
    written = {path: text.replace("{index}", index_of_pip()) for path, text in files.items()}
    installation.project.commit({**written, **TESTED_IN_PYTHON})
    await anyio.run_process([lockers / tool, "lock"], cwd=installation.project.path)
    locked = {path.name: path.read_text() for path in installation.project.path.glob("*.lock")}
    assert locked
    cold, _ = await set_up_and_test(installation, locked, f"{prepared} && python -m pytest -q")
    (step,) = planned(cold)
    assert step.startswith(f"{tool} (")


async def test_a_lock_file_that_does_not_match_is_told_in_the_tools_own_words(installation: Installation) -> None:
    package = (PACKAGE % "").replace("3.0.1", "2.0.0")
    installation.project.commit({"package.json": package, "package-lock.json": lock("package-lock.json")})
    async with installation.opened() as running:
        finished = await running.run(environment="")
    assert finished.outcome.verdict is Verdict.FAILED
    assert "the setup script ended with status 1" in finished.outcome.reason
    assert "package-lock.json" in finished.outcome.reason and "in sync" in finished.outcome.reason
