"""Containers of the pristine base image in which git touches a sandbox's work tree, out of everybody's reach."""

import contextlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio

from cloister.errors import SandboxError
from cloister.model.environment import Limits
from cloister.model.sandbox import SandboxName, Stream
from cloister.sandboxes.oci import syscalls, worktree
from cloister.sandboxes.oci.bundle import UID_BASE, Bind, Bundle
from cloister.sandboxes.oci.guard import TOOL
from cloister.sandboxes.oci.node import Node
from cloister.sandboxes.oci.overlay import mount_overlay
from cloister.sandboxes.oci.paths import make_passage
from cloister.sandboxes.oci.process import OciProcess

TOOL_IMAGE = "base"
"""It has git and Python, which a user's image need not have."""
TIMEOUT_SECONDS = 15 * 60.0
_OUTPUT_BYTES = 16 * 1024 * 1024
_LAST_CHARACTERS = 2000


async def run_tool(
    node: Node,
    sandbox: SandboxName,
    script: str,
    request: Mapping[str, Any],
    *,
    binds: Sequence[Bind],
    limits: Limits,
) -> dict[str, Any]:
    """Run one of the scripts of `worktree` in a container without network, and return its answer.

    SandboxError with the script's last words when it fails: it is ours, so that is never the task's doing.
    """
    container = f"{sandbox}.{script}"
    directory = node.paths.sandbox(sandbox) / "tools" / script
    root = directory.with_name(f"{script}.root")
    _clear(root)  # what a killed worker left
    await node.containers.remove(directory, container)
    image = await node.images.ensure(TOOL_IMAGE)
    make_passage(root, UID_BASE)
    mount_overlay(root, lowers=[node.guard.layer, node.images.rootfs(image)])
    try:
        process = await node.containers.start(
            directory,
            Bundle(
                container=container,
                argv=("/usr/bin/python3", "-I", "-S", f"{TOOL}/{script}.py"),
                environment={
                    "PATH": "/usr/bin:/bin",
                    "HOME": "/nonexistent",
                    "LC_ALL": "C.UTF-8",
                    "TMPDIR": "/dev/shm",
                },
                cwd="/",
                root=root,
                root_read_only=True,
                network=None,
                init=node.init,
                sysfs=node.guard.sysfs,
                binds=(Bind(source=Path(worktree.__file__).parent, target=TOOL), *binds),
                limits=limits,
            ),
            stdin=json.dumps(request).encode(),
            files={},
            timeout_seconds=TIMEOUT_SECONDS,
            output_bytes=_OUTPUT_BYTES,
        )
        return await _answer(process, f"{script} of {sandbox}")
    finally:
        with anyio.CancelScope(shield=True):
            await node.containers.remove(directory, container)
            _clear(root)


async def _answer(process: OciProcess, what: str) -> dict[str, Any]:
    printed = {Stream.STDOUT: bytearray(), Stream.STDERR: bytearray()}
    async for chunk in process.output():
        printed[chunk.stream] += chunk.data
    ended = await process.wait()
    if ended.status != 0:
        words = printed[Stream.STDERR].decode(errors="replace")[-_LAST_CHARACTERS:].strip()
        raise SandboxError(f"{what} ended with status {ended.status} ({ended.cause}): {words}")
    answer: dict[str, Any] = json.loads(printed[Stream.STDOUT])
    return answer


def _clear(root: Path) -> None:
    syscalls.unmount_all(str(root))
    with contextlib.suppress(FileNotFoundError):
        root.rmdir()
