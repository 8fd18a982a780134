"""Where Cloister's own log goes: one JSON object a line, without the values of variables."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import structlog

FILE_NAME = "cloister.log"


@contextmanager
def logging_to_file(directory: Path, level: str) -> Iterator[None]:
    """Append to the log in `directory`, which only its owner reads, as long as the context is open."""
    path = directory / FILE_NAME
    path.touch(mode=0o600)
    with path.open("a") as file:
        _configure(file, level)
        try:
            yield
        finally:
            structlog.reset_defaults()


@contextmanager
def logging_to_stderr(level: str) -> Iterator[None]:
    """Write to standard error, as a service does."""
    _configure(sys.stderr, level)
    try:
        yield
    finally:
        structlog.reset_defaults()


def _configure(stream: TextIO, level: str) -> None:
    # Tracebacks are plain: a pretty one prints local variables, and one of them may hold a secret.
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(default=str),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
