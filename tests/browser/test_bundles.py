"""Scripts and styles that are committed are what the lock file makes."""

from pathlib import Path

from cloister.web import assets

from .conftest import run_node

STATIC = Path(assets.__file__).parent / "static"


def test_what_is_committed_is_what_is_built(packages: Path, tmp_path: Path) -> None:
    run_node(packages, "build.mjs", str(tmp_path))
    made = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    kept = {file.name: file.read_bytes() for file in STATIC.iterdir() if file.suffix in (".js", ".css")}
    assert made == kept, "run ./dev web"
