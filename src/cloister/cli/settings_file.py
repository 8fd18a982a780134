"""Writes into a settings file what a command found out, and leaves the rest of the file as it is."""

import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile

from cloister.errors import UsageError

_PRIVATE = 0o600


def write_setting(config: Path | None, table: str, key: str, value: int) -> Path:
    """Set a key of a table in the file that has the table last, else the last that is there; return which it was.

    A file that is not there is made: for root the system's, else the user's. UsageError when it cannot be written.
    """
    import tomlkit  # takes a while to load
    from tomlkit.exceptions import TOMLKitError

    from cloister.settings_files import settings_files

    path = _file_for(settings_files(config), table)
    try:
        path = path.resolve()
        document = tomlkit.parse(path.read_text() if path.exists() else "")
        if table not in document:
            document[table] = tomlkit.table()
        document[table][key] = value
        _replace(path, tomlkit.dumps(document))
    except OSError as error:
        raise UsageError(f"cannot write the settings file {path}: {error.strerror}") from error
    except (TOMLKitError, TypeError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the settings file {path}: {error}") from error
    return path


def _file_for(files: Sequence[Path], table: str) -> Path:
    """Of two files, the later one's table replaces the other's, so a key has to be where the table is."""
    there = [path for path in files if path.exists()]
    having = [path for path in there if _has(path, table)]
    if having or there:
        return (having or there)[-1]
    return files[0] if os.geteuid() == 0 else files[-1]


def _has(path: Path, table: str) -> bool:
    import tomllib

    try:
        return table in tomllib.loads(path.read_text())
    except (OSError, ValueError):
        return False


def _replace(path: Path, text: str) -> None:
    """Replace a file at once, with the owner and the mode that it had."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}-", delete=False) as draft:
        try:
            draft.write(text)
            draft.flush()
            os.fsync(draft.fileno())
            status = path.stat() if path.exists() else None
            if status is not None:
                os.fchown(draft.fileno(), status.st_uid, status.st_gid)
            os.fchmod(draft.fileno(), _PRIVATE if status is None else status.st_mode & 0o777)
            Path(draft.name).rename(path)
        except BaseException:
            Path(draft.name).unlink(missing_ok=True)
            raise
