"""Files that an agent leaves beside its change: screenshots, reports, logs."""

from dataclasses import dataclass

ARTIFACTS = "/cloister/out/artifacts"
MOST_ARTIFACTS = 100
LARGEST_ARTIFACT_BYTES = 20 * 1024 * 1024
LARGEST_TOGETHER_BYTES = 50 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """One that was kept."""

    name: str
    """Its path below ARTIFACTS, made harmless, and of its own in the attempt."""
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundFile:
    """What lies in a folder of a sandbox."""

    path: str
    """Below that folder. Bytes that are no UTF-8 are lone surrogates, as Python reads them (PEP 383)."""
    size_bytes: int
    is_regular: bool
    """Not a link, a pipe, a socket or a device."""
