"""Scripts and styles that are committed are what the lock file makes."""

from pathlib import Path

import pytest

from cloister.web import assets

from .conftest import run_node

STATIC = Path(assets.__file__).parent / "static"


@pytest.mark.parametrize("name", ["app.js", "app.css", "service-worker.js"])
def test_what_is_committed_is_what_is_built(packages: Path, tmp_path: Path, name: str) -> None:
    run_node(packages, "build.mjs", str(tmp_path))
    assert (tmp_path / name).read_bytes() == (STATIC / name).read_bytes(), "run ./dev web"
