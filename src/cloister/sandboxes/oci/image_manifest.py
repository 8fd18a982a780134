"""What an image has: its own programs are asked which versions they are."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from cloister.errors import SandboxError
from cloister.model.image import LANGUAGES, Toolchain
from cloister.sandboxes.oci.build_command import Ended
from cloister.sandboxes.oci.image_inside import run_inside
from cloister.sandboxes.oci.image_recipe import ImageRecipe, ToolchainRecipe

_ANSWER_SECONDS = 60
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_VERSION = r"\d+(?:\.\d+)*"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    """How a program is asked for its version."""

    command: tuple[str, ...]
    before: str = ""
    """What stands before the version at the beginning of a line, a regular expression."""


_OF_LANGUAGES: Mapping[str, _Question] = {
    "python": _Question(command=("python3", "--version"), before="Python "),
    "node": _Question(command=("node", "--version"), before="v"),
    "rust": _Question(command=("rustc", "--version"), before="rustc "),
    "go": _Question(command=("go", "version"), before="go version go"),
    "swift": _Question(command=("swift", "--version"), before=".*Swift version "),
    "ruby": _Question(command=("ruby", "--version"), before="ruby "),
    "php": _Question(command=("php", "--version"), before="PHP "),
    "java": _Question(command=("java", "--version"), before="(?:openjdk|java) "),
}
_OF_PACKAGE_MANAGERS: Mapping[str, _Question] = {
    "pip": _Question(command=("pip", "--version"), before="pip "),
    "uv": _Question(command=("uv", "--version"), before="uv "),
    "poetry": _Question(command=("poetry", "--version"), before=r"Poetry \(version "),
    "pipenv": _Question(command=("pipenv", "--version"), before="pipenv, version "),
    "npm": _Question(command=("npm", "--version")),
    "yarn": _Question(command=("yarn", "--version")),
    "pnpm": _Question(command=("pnpm", "--version")),
    "bun": _Question(command=("bun", "--version")),
    "cargo": _Question(command=("cargo", "--version"), before="cargo "),
    "gem": _Question(command=("gem", "--version")),
    "bundler": _Question(command=("bundle", "--version"), before="Bundler version "),
    "composer": _Question(command=("composer", "--no-ansi", "--version"), before="Composer version "),
    "maven": _Question(command=("mvn", "--batch-mode", "--version"), before="Apache Maven "),
    "gradle": _Question(command=("gradle", "--version"), before="Gradle "),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What an image has besides its packages."""

    toolchains: tuple[Toolchain, ...]
    package_managers: Mapping[str, str]


async def read_manifest(recipe: ImageRecipe, root: Path) -> Manifest:
    """Ask the programs in the tree `root`, which cannot be changed by it.

    SandboxError, in its own words, when a toolchain that the recipe names does not say its version, or is not the one
    that is found on PATH although it comes first.
    """
    toolchains: list[Toolchain] = []
    for language in LANGUAGES:
        listed = [toolchain for toolchain in recipe.toolchains if toolchain.language == language]
        found = [await _named(toolchain, root, is_default=toolchain is listed[0]) for toolchain in listed]
        toolchains += found or await _unnamed(language, root)
    answers = {name: (await _ask(question, root)).version for name, question in _OF_PACKAGE_MANAGERS.items()}
    managers = {name: version for name, version in answers.items() if version}
    return Manifest(toolchains=tuple(toolchains), package_managers=managers)


def write_manifest(name: str, packages: Mapping[str, str], manifest: Manifest, root: Path) -> None:
    """Write what the image is for those inside: /etc/cloister/image.json."""
    path = root / "etc/cloister/image.json"
    path.parent.mkdir(exist_ok=True)
    content = {
        "name": name,
        "packages": dict(packages),
        "toolchains": [asdict(toolchain) for toolchain in manifest.toolchains],
        "package_managers": dict(manifest.package_managers),
    }
    path.write_text(json.dumps(content, indent=1) + "\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """What a program said."""

    version: str
    """Empty when it said none."""
    ended: Ended


async def _named(recipe: ToolchainRecipe, root: Path, *, is_default: bool) -> Toolchain:
    question = _OF_LANGUAGES[recipe.language]
    path = (f"{recipe.place}/bin",) if recipe.place else ()
    answer = await _ask(question, root, path, recipe.variables)
    where = path[0] if path else "on PATH"
    if not answer.version:
        raise answer.ended.failure(f"asking the {recipe.language} toolchain {where} for its version")
    if is_default and path:
        found = await _ask(question, root)
        if found.version != answer.version:
            raise SandboxError(
                f"{recipe.language} {answer.version} {where} comes first in the recipe, but PATH has "
                f"{found.version or 'none'}: something else has put {question.command[0]} into /usr/local/bin"
            )
    return Toolchain(
        language=recipe.language,
        version=answer.version,
        path=() if is_default else path,
        variables=recipe.variables,
    )


async def _unnamed(language: str, root: Path) -> list[Toolchain]:
    """Return what the packages brought, if they did."""
    answer = await _ask(_OF_LANGUAGES[language], root)
    return [Toolchain(language=language, version=answer.version)] if answer.version else []


async def _ask(
    question: _Question, root: Path, path: Sequence[str] = (), variables: Mapping[str, str] | None = None
) -> _Answer:
    command = ("timeout", f"{_ANSWER_SECONDS}", *question.command)
    ended = await run_inside(root, command, path=path, variables=variables or {})
    lines = ended.lines if ended.status == 0 else ()
    pattern = re.compile(f"{question.before}({_VERSION})")
    found = next((match for line in lines if (match := pattern.match(_COLOURS.sub("", line)))), None)
    return _Answer(version=found[1] if found else "", ended=ended)
