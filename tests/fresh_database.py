"""New database files, whose tables are made once: every test would take each step from the first tables to today's."""

import functools
import tempfile
from pathlib import Path

from cloister.stores.upgrade import upgrade


def put_database(path: Path) -> None:
    """Make the file as opening it would, unless there is one."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        path.touch(mode=0o600)
        path.write_bytes(_content())


@functools.cache
def _content() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "cloister.db"
        upgrade(file)
        return file.read_bytes()
