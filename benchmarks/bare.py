"""A container by the OCI runtime alone, with nothing of ours around it."""

import asyncio
import json
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from cloister.sandboxes.oci import syscalls
from cloister.sandboxes.oci.cgroup import CgroupLayout, find_layout

_HIDDEN = "/sys/fs/cgroup/unified"


class BareContainer:
    """`crun run` of the runtime's own example bundle, with `true` as its program."""

    def __init__(self, rootfs: Path, state: Path) -> None:
        self._bundle = Path(tempfile.mkdtemp(prefix="bare-", dir=state))
        subprocess.run(["crun", "spec"], cwd=self._bundle, check=True)
        path = self._bundle / "config.json"
        document = json.loads(path.read_text())
        document["root"] = {"path": str(rootfs), "readonly": True}
        document["process"] |= {"args": ["true"], "terminal": False}
        path.write_text(json.dumps(document))

    async def run(self) -> float:
        """Run it to its end and return the seconds that took."""
        begun = time.perf_counter()
        process = await asyncio.create_subprocess_exec(
            *("crun", "run", "--bundle", str(self._bundle), self._bundle.name), preexec_fn=_hide_unified
        )
        if await process.wait() != 0:
            raise RuntimeError("crun failed")
        return time.perf_counter() - begun

    def close(self) -> None:
        """Remove the bundle."""
        shutil.rmtree(self._bundle)


def _hide_unified() -> None:
    """crun 1.8 takes a host with both hierarchies for one it cannot serve."""
    if find_layout() is CgroupLayout.HYBRID:
        syscalls.unshare(syscalls.CLONE_NEWNS)
        syscalls.mount("none", "/", flags=syscalls.MS_REC | syscalls.MS_PRIVATE)
        syscalls.unmount_all(_HIDDEN)
