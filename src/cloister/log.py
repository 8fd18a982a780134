"""Where Cloister's own log goes: an entry a line, without the values of variables, and with secrets masked."""

import logging
import re
import sys
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import Processor

FILE_NAME = "cloister.log"

Format = Literal["json", "console"]

_MASK = "***"
_SECRETS = (
    (re.compile(r"\bclo_[A-Za-z0-9_-]{16,}"), _MASK),
    (re.compile(r"\bwhsec_[A-Za-z0-9+/=]{16,}"), _MASK),
    (re.compile(r"(?i)\b(bearer|basic|token)(\s+)[A-Za-z0-9._~+/=-]{8,}"), rf"\1\2{_MASK}"),
    (re.compile(r"(://[^/\s:@]*):[^/\s@]+@"), rf"\1:{_MASK}@"),
)
"""What looks like a credential. Values of a task's secrets are masked before, by who knows them: its journal."""


@contextmanager
def logging_to_file(directory: Path, level: str) -> Iterator[None]:
    """Append to the log in `directory`, which only its owner reads, as long as the context is open."""
    path = directory / FILE_NAME
    path.touch(mode=0o600)
    with path.open("a") as file, _configured(file, level, "json"):
        yield


@contextmanager
def logging_to_stderr(level: str, format_: Format = "json") -> Iterator[None]:
    """Write to standard error, as a service does: what libraries say too."""
    with _configured(sys.stderr, level, format_), _libraries_told(sys.stderr, level, format_):
        yield


@contextmanager
def _configured(stream: TextIO, level: str, format_: Format) -> Iterator[None]:
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, *_before(), *_last(stream, format_)],
        wrapper_class=structlog.make_filtering_bound_logger(_number(level)),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    try:
        yield
    finally:
        structlog.reset_defaults()


@contextmanager
def _libraries_told(stream: TextIO, level: str, format_: Format) -> Iterator[None]:
    """Let what goes through the standard library's logging have the same form."""
    root = logging.getLogger()
    handler = logging.StreamHandler(stream)
    remove = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.contextvars.merge_contextvars, _add_logger, *_before()],
            processors=[remove, *_last(stream, format_)],
        )
    )
    former = root.level
    root.addHandler(handler)
    root.setLevel(max(_number(level), logging.WARNING))  # what they tell of their own work is not ours to tell
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(former)


def _before() -> Sequence[Processor]:
    return (
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _mask_credentials,
    )


def _last(stream: TextIO, format_: Format) -> Sequence[Processor]:
    if format_ == "json":
        return (structlog.processors.JSONRenderer(default=str),)
    # Tracebacks are plain: a pretty one prints local variables, and one of them may hold a secret.
    plain = structlog.dev.plain_traceback
    return (structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=plain),)


def _add_logger(_: Any, __: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    record: logging.LogRecord | None = entry.get("_record")
    if record is not None:
        entry["logger"] = record.name
    return entry


def _mask_credentials(_: Any, __: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in entry.items():
        if isinstance(value, str) and key != "timestamp":
            entry[key] = mask_credentials(value)
    return entry


def mask_credentials(text: str) -> str:
    """Mask what looks like a credential."""
    for pattern, shown in _SECRETS:
        text = pattern.sub(shown, text)
    return text


def _number(level: str) -> int:
    return logging.getLevelNamesMapping()[level.upper()]
