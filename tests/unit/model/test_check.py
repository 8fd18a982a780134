"""What checks say together, what an agent is told of them, and which changed files decide what they do."""

import pytest

from cloister.model.check import CheckResult, ChecksState, relied_on, report_of, state_of


def result(name: str = "test", *, ok: bool = True, last_words: str = "") -> CheckResult:
    reason = "" if ok else "it ended with status 1"
    return CheckResult(name=name, ok=ok, status=not ok, seconds=1.0, reason=reason, last_words=last_words)


def test_none_is_not_a_pass() -> None:
    assert state_of([]) is ChecksState.NOT_RUN
    assert state_of([result(), result(ok=False)]) is ChecksState.FAILED
    assert state_of([result(), result()]) is ChecksState.PASSED


def test_an_agent_is_told_what_failed_and_nothing_else() -> None:
    told = report_of([result("lint"), result("test", ok=False, last_words="1 failed")])
    assert "`test` failed (it ended with status 1)" in told
    assert "1 failed" in told
    assert "lint" not in told


@pytest.mark.parametrize(
    ("command", "path"),
    [
        ("make test", "Makefile"),
        ("npm test", "package.json"),
        ("pytest -q", "tests/unit/test_a.py"),
        ("cd web && npx vitest run", "web/src/a.test.ts"),
        ("bash scripts/check.sh --all", "scripts/check.sh"),
        ("./scripts/check.sh", "scripts/check.sh"),
        ("/opt/venv/bin/ruff check .", "pyproject.toml"),
        ("python -m pytest", "conftest.py"),
        ("go test ./...", "a/b_test.go"),
        ("pytest -q", "pyproject.toml"),
        ("uv run pytest", "tests/data/expected.json"),
        ("tox", "sitecustomize.py"),
        ("npx jest", "package.json"),
        ("npm test", "test/price.js"),
        ("node --test", "web/__mocks__/fs.js"),
        ("cargo test", "build.rs"),
        ("cargo test", ".cargo/config.toml"),
    ],
)
def test_what_a_check_relies_on_is_found(command: str, path: str) -> None:
    assert list(relied_on(command, ["README.md", path])) == [path]


@pytest.mark.parametrize(
    ("command", "path"),
    [
        ("pytest", "src/a.py"),
        ("pytest", "contest/a.py"),
        ("cargo test", "src/build.rs.txt"),
        ("make test", "src/make.py"),
        ("npm test", "src/package.json.md"),
    ],
)
def test_what_a_check_is_about_is_not(command: str, path: str) -> None:
    assert list(relied_on(command, [path])) == []
