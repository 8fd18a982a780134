"""Images: the base root file systems that sandboxes stand on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from cloister.model.sandbox import ImageDigest

LANGUAGES = ("python", "node", "rust", "go", "swift", "ruby", "php", "java")
"""As `[versions]` names them."""

PACKAGE_MANAGERS: Mapping[str, tuple[str, ...]] = {
    "python": ("pip", "uv", "poetry", "pipenv"),
    "node": ("npm", "yarn", "pnpm", "bun"),
    "rust": ("cargo",),
    "go": (),
    "swift": (),
    "ruby": ("gem", "bundler"),
    "php": ("composer",),
    "java": ("maven", "gradle"),
}
"""Of each language; where there is none, the language's own program is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolchain:
    """One version of a language that an image has."""

    language: str
    """As in `[versions]`: python, node, go, ..."""
    version: str
    """As the language's own program tells it: digits with dots between them, and perhaps more."""
    path: tuple[str, ...] = ()
    """Folders that go before PATH to choose it; none for what is found there anyway."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """What its programs need besides, such as JAVA_HOME."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One built image on this node."""

    name: str
    """The recipe that it was built from, or the reference that it was pulled by."""
    digest: ImageDigest
    created_at: datetime
    size_bytes: int
    """Content of its regular files, hard links counted once."""
    packages: Mapping[str, str]
    """Installed packages and their versions."""
    registries: tuple[str, ...] = ()
    """Hosts, as `parse_host` returns them, that its package clients are configured with."""
    source: str = ""
    """The digest in the registry that it was pulled from, `sha256:...`; empty for what was built here."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """What a pulled image's configuration gives to its programs."""
    universal: bool = False
    """Whether it has the script that OpenAI's universal image chooses versions with; see `model.universal`."""
    toolchains: tuple[Toolchain, ...] = ()
    """The languages and their versions; of each language the one that is found without being chosen comes first."""
    package_managers: Mapping[str, str] = field(default_factory=dict)
    """The names, as in `PACKAGE_MANAGERS`, of those that it has, and their versions."""


@dataclass(frozen=True, slots=True)
class BuildProgress:
    """How far a build is."""

    stage: str
    """What is being done, in a few words."""
    fraction: float
    """Of the whole build: 0.0 to 1.0, never going back."""
