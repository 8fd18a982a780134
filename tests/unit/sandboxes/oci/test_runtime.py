"""The runtime that starts every container: no container may change it."""

import fcntl
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from cloister.sandboxes.oci.runtime import Runtime, find_runtime

RUNTIMES = [name for name in ("crun", "runc") if shutil.which(name)]
SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
"""Exactly these, or the runtime makes another copy (cloned_binary.c of crun, of runc)."""


@pytest.fixture(params=RUNTIMES)
def runtime(request: pytest.FixtureRequest, tmp_path: Path) -> Runtime:
    return find_runtime(request.param, tmp_path)


def test_its_copy_is_the_program_and_nobody_can_write_to_it(runtime: Runtime) -> None:
    sealed = runtime.seal()
    assert sealed is not None
    assert fcntl.fcntl(sealed, fcntl.F_GET_SEALS) == SEALS
    assert Path(f"/proc/self/fd/{sealed}").read_bytes() == runtime.path.read_bytes()
    with pytest.raises(PermissionError), Path(f"/proc/self/fd/{sealed}").open("r+b") as file:
        file.write(b"#!")
    said = subprocess.run(
        [runtime.name, "--version"], executable=f"/proc/self/fd/{sealed}", pass_fds=[sealed], capture_output=True
    )
    assert said.stdout.decode().startswith(f"{runtime.name} version {runtime.version}")
    os.close(sealed)


def test_a_script_and_a_runtime_that_knows_no_copies_are_started_by_their_paths(
    runtime: Runtime, tmp_path: Path
) -> None:
    script = tmp_path / "script"
    script.write_text(f'#!/bin/sh\nexec {runtime.path} "$@"\n')
    assert replace(runtime, path=script).seal() is None
    assert replace(runtime, name="runsc").seal() is None
