"""Locks on directories, which end with the process that holds them at the latest."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked(place: Path, kind: int) -> Iterator[None]:
    """Lock a directory, as flock(2) takes `kind`. BlockingIOError, with LOCK_NB, when somebody else has."""
    descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, kind)
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)  # a program that is being started has a copy of the descriptor
        os.close(descriptor)
