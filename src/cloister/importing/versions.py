"""Versions of languages, as other files write them."""

import re

_VERSION = re.compile(r"v?(\d+(?:\.\d+){0,3})(?:\.[x*])*", re.ASCII)
_IMAGE = re.compile(
    r"(?:mcr\.microsoft\.com/(?:vscode/)?devcontainers/|docker\.io/(?:library/)?|library/)?"
    r"(python|javascript-node|typescript-node|node|golang|go|rust|ruby|php|java|swift|openjdk)"
    r"(?::([A-Za-z0-9_.-]+))?(?:@sha256:[0-9a-f]{64})?",
    re.ASCII,
)
_OF_IMAGE = {"javascript-node": "node", "typescript-node": "node", "golang": "go", "openjdk": "java"}
_TEMPLATE = re.compile(r"^(?:dev-|\d+(?:\.\d+)*-)(?=\d)", re.ASCII)
"""The image's own version, before that of the language: `1-3.12-bookworm`."""
_BEGIN = re.compile(r"\d+(?:\.\d+){0,3}", re.ASCII)


def find_version(text: str) -> str | None:
    """Return `20` of `v20.x`; None for a range, an alias such as `lts/*`, and anything else."""
    found = _VERSION.fullmatch(text.strip())
    return found[1] if found else None


def version_of_image(image: str) -> tuple[str, str] | None:
    """Return language and version of a well-known image; None when it is none, or names no version."""
    found = _IMAGE.fullmatch(image)
    if found is None or found[2] is None:
        return None
    version = _BEGIN.match(_TEMPLATE.sub("", found[2]))
    return (_OF_IMAGE.get(found[1], found[1]), version[0]) if version else None
