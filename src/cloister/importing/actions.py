"""What GitHub's actions do, as far as it has a counterpart here."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cloister.detection.tools import debian_package, npm_package, python_program
from cloister.importing.versions import find_version

_EXACT = re.compile(r"\d+(?:\.\d+)*", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolchain:
    """An action that installs a language."""

    language: str
    input: str
    file: str | None = None
    """The input that names a file of the project with the version in it."""


TOOLCHAINS = {
    "actions/setup-go": Toolchain(language="go", input="go-version", file="go-version-file"),
    "actions/setup-java": Toolchain(language="java", input="java-version", file="java-version-file"),
    "actions/setup-node": Toolchain(language="node", input="node-version", file="node-version-file"),
    "actions/setup-python": Toolchain(language="python", input="python-version", file="python-version-file"),
    "actions-rs/toolchain": Toolchain(language="rust", input="toolchain"),
    "actions-rust-lang/setup-rust-toolchain": Toolchain(language="rust", input="toolchain"),
    "dtolnay/rust-toolchain": Toolchain(language="rust", input="toolchain"),
    "ruby/setup-ruby": Toolchain(language="ruby", input="ruby-version"),
    "shivammathur/setup-php": Toolchain(language="php", input="php-version", file="php-version-file"),
    "swift-actions/setup-swift": Toolchain(language="swift", input="swift-version"),
}
_NO_NEED = {
    "actions/cache": "the disk after setup is kept as it is",
    "actions/cache/restore": "the disk after setup is kept as it is",
    "actions/cache/save": "the disk after setup is kept as it is",
    "actions/checkout": "the work tree is there, with its whole history",
    "actions/upload-artifact": "an agent's artifacts are what it writes to /cloister/out/artifacts",
    "step-security/harden-runner": "[network] says who may be reached",
    "swatinem/rust-cache": "the disk after setup is kept as it is",
}
_HINTS = {
    "actions/setup-dotnet": "no package of Debian's has .NET; install it with [setup] script",
    "docker/": "there is no Docker in a sandbox; install what the image has, and start it in [services]",
    "github/codeql-action": "nothing is analysed here",
    "gradle/": "install Debian's: apt-get install --yes gradle default-jdk-headless",
    "google-github-actions/": "no login of GitHub's is there; give a secret: cloister secret set",
    "aws-actions/": "no login of GitHub's is there; give a secret: cloister secret set",
    "azure/": "no login of GitHub's is there; give a secret: cloister secret set",
    "hashicorp/": "install it with [setup] script",
}


def _pnpm(inputs: Mapping[str, str]) -> str:
    version = inputs.get("version", "")
    return "\n".join(npm_package("pnpm", f"pnpm@{version}" if _EXACT.fullmatch(version) else "pnpm@9"))


def _bundle(inputs: Mapping[str, str]) -> str | None:
    if inputs.get("bundler-cache") != "true":
        return None
    return "\n".join([*debian_package("bundle", "ruby-bundler ruby-dev"), "bundle install"])


PROGRAMS: Mapping[str, Callable[[Mapping[str, str]], str | None]] = {
    "abatilo/actions-poetry": lambda _: "\n".join(python_program("poetry")),
    "astral-sh/setup-uv": lambda _: "\n".join(python_program("uv")),
    "denoland/setup-deno": lambda _: "\n".join(npm_package("deno", "deno")),
    "oven-sh/setup-bun": lambda _: "\n".join(npm_package("bun", "bun")),
    "pnpm/action-setup": _pnpm,
    "ruby/setup-ruby": _bundle,
    "snok/install-poetry": lambda _: "\n".join(python_program("poetry")),
}
"""Actions that stand for commands, which are of bash. None for no command."""


def why_left(action: str) -> str:
    """Say why an action is not taken over, and what to do instead."""
    if action in _NO_NEED:
        return f"not needed: {_NO_NEED[action]}"
    if action.startswith("./"):
        return "actions of the repository are not read; write what it runs into [setup] script"
    hint = next((text for prefix, text in _HINTS.items() if action.startswith(prefix)), None)
    return hint or "actions are GitHub's; write what it does into [setup] script"


def rust_of_reference(action: str, reference: str) -> str | None:
    """Return the version that `dtolnay/rust-toolchain@1.80` names by its reference."""
    return find_version(reference) if action == "dtolnay/rust-toolchain" else None
