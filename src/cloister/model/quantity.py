"""Durations and sizes, as people write them in files and options."""

import re

MINUTE = 60.0
HOUR = 60 * MINUTE
DAY = 24 * HOUR
LONGEST_SECONDS = 365 * DAY
MIB = 1024 * 1024
GIB = 1024 * MIB

_DURATION_UNITS = {"s": 1.0, "m": MINUTE, "h": HOUR, "d": DAY}
_SIZE_UNITS = {
    "B": 1,
    "KiB": 1024,
    "MiB": MIB,
    "GiB": GIB,
    "TiB": 1024 * GIB,
    "kB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "TB": 1000**4,
}
_PART = r"[0-9]{1,12}(?:\.[0-9]{1,6})?"
_DURATION = re.compile(rf"(?:{_PART}[smhd])+")
_DURATION_PART = re.compile(rf"({_PART})([smhd])")
_SIZE = re.compile(rf"({_PART}) ?({'|'.join(_SIZE_UNITS)})")

DURATION_PATTERN = f"^(?=.*[1-9]){_DURATION.pattern}$"
"""A duration in ECMA-262; that it is at most a year is beyond a pattern."""
SIZE_PATTERN = f"^{_SIZE.pattern}$"
"""A size in ECMA-262, whatever its bounds are."""


def parse_duration(text: str) -> float:
    """Return the seconds of `90s`, `20m`, `1h30m` or `2d`. Raises ValueError, also for none and for over a year."""
    if not _DURATION.fullmatch(text):
        raise ValueError('must be a duration, such as "90s", "20m", "1h30m" or "2d"')
    seconds = sum(float(number) * _DURATION_UNITS[unit] for number, unit in _DURATION_PART.findall(text))
    if not 0 < seconds <= LONGEST_SECONDS:
        raise ValueError("must be longer than nothing and at most a year")
    return seconds


def parse_size(text: str) -> int:
    """Return the bytes of `4GiB` or `500 MB`. Raises ValueError."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError('must be a size with its unit, such as "512MiB" or "4GiB"')
    return int(float(match[1]) * _SIZE_UNITS[match[2]])


def size_to_text(size_bytes: int) -> str:
    """Return a size to be read by people, such as `4.0 GiB`."""
    size = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
