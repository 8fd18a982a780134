"""Replaces a master key, and dies by SIGKILL at a named point of it.

Usage: python rotate.py POINT FOLDER
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import anyio

from cloister.stores.database import Database
from cloister.stores.secrets import SqlSecretStore
from cloister.vault import keys, vault
from cloister.vault.keys import KeyFile
from cloister.vault.signing import SigningKeyFile
from cloister.vault.vault import SealedVault

POINTS: dict[str, tuple[Any, str, int, bool]] = {
    "before the new key": (keys, "make_once", 1, True),
    "after the new key": (keys, "make_once", 1, False),
    "within the transaction": (vault, "rewrap", 2, True),
    "before the transaction is over": (vault, "rewrap", 3, False),
    "after the transaction": (KeyFile, "_retire_current", 1, True),
    "before the former key has its name": (Path, "replace", 1, True),
    "after the former key has its name": (Path, "replace", 1, False),
    "before the new key is the current one": (Path, "replace", 2, True),
    "after the new key is the current one": (Path, "replace", 2, False),
}


def _arm(point: str) -> None:
    owner, name, times, before = POINTS[point]
    real, calls = getattr(owner, name), iter(range(1, 1000))

    def dying(*arguments: Any, **named: Any) -> Any:
        call = next(calls)
        if call == times and before:
            os.kill(os.getpid(), signal.SIGKILL)
        answer = real(*arguments, **named)
        if call == times:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    setattr(owner, name, dying)


async def _rotate(folder: Path) -> None:
    async with Database.open(folder / "cloister.db") as database:
        opened = SealedVault(
            SqlSecretStore(database), KeyFile(folder / "keys/master.key"), SigningKeyFile(folder / "keys/record.key")
        )
        await opened.rotate_key()


if __name__ == "__main__":
    _arm(sys.argv[1])
    anyio.run(_rotate, Path(sys.argv[2]))
