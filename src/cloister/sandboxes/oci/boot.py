"""Which boot this is: what was not synced is gone after it."""

from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """Return what the kernel calls this boot."""
    return _BOOT_ID.read_text().strip()
