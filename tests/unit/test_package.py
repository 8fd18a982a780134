"""What scripts find at the root of the package."""

import subprocess
import sys
from pathlib import Path

import pytest

import cloister
from cloister.client import Client
from cloister.model.request import Request

SOURCE = str(Path(cloister.__file__).parents[1])


def test_scripts_find_what_they_need_at_the_root() -> None:
    assert (cloister.Client, cloister.Request) == (Client, Request)
    assert all(hasattr(cloister, name) for name in cloister.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = cloister.Nothing


def test_the_package_alone_loads_nothing() -> None:
    """Programs beside every sandbox begin with it."""
    told = "import sys; before = {*sys.modules}; import cloister; print(*sorted({*sys.modules} - before))"
    done = subprocess.run(
        [sys.executable, "-Sc", f"import sys; sys.path.insert(0, {SOURCE!r}); {told}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "cloister"


def test_the_client_loads_nothing_of_the_server() -> None:
    """Commands that ask a server answer twice as soon without it."""
    told = "import sys, cloister.client; print({'fastapi', 'sqlalchemy', 'structlog', 'mcp', 'yaml'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
