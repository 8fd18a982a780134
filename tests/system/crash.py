"""Runs `cloister` and dies by SIGKILL at a named point of saving a snapshot, or of keeping a final disk.

Usage: python crash.py snapshot|keep_final_disk POINT ARGUMENTS...
"""

import os
import signal
import sys
from typing import Any

from cloister.cli.main import app
from cloister.sandboxes.oci import snapshots
from cloister.sandboxes.oci.disk import Disk
from cloister.sandboxes.oci.final_disk import FinalDisk
from cloister.sandboxes.oci.sandbox import OciSandbox
from cloister.sandboxes.oci.snapshots import Snapshots

POINTS = {
    "before rename": (Snapshots, "keep", True),
    "before marker": (snapshots, "write_marker", True),
    "after marker": (snapshots, "write_marker", False),
    "after rename": (Snapshots, "keep", False),
    "before state": (Disk, "remember", True),
    "after state": (Disk, "remember", False),
    "before copy": (FinalDisk, "make", True),
}


def _arm(point: str) -> None:
    owner, name, before = POINTS[point]
    real = getattr(owner, name)

    def dying(*arguments: Any, **named: Any) -> Any:
        if before:
            os.kill(os.getpid(), signal.SIGKILL)
        real(*arguments, **named)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, name, dying)


def main() -> None:
    call, point = sys.argv.pop(1), sys.argv.pop(1)
    real = getattr(OciSandbox, call)

    async def armed(*arguments: Any) -> Any:
        _arm(point)
        return await real(*arguments)

    setattr(OciSandbox, call, armed)
    app()


main()
