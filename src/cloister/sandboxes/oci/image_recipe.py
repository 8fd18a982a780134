"""Recipes: which packages an image is made of, one TOML file each."""

import difflib
import re
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path, PurePosixPath

from cloister.errors import NotFoundError, UsageError
from cloister.model.image import LANGUAGES
from cloister.sandboxes.oci.recipe_package import (
    RegistryPackage,
    parse_alternatives,
    parse_npm_package,
    parse_python_package,
)

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_VARIANTS = ("minbase", "apt", "essential")
_KEYS = ("packages", "variant", "python_packages", "npm_packages", "toolchains", "files")
_TOOLCHAIN_KEYS = ("language", "python_package", "npm_package", "folder", "place", "variables")
_FOR_PYTHON_PACKAGES = {"python3-pip", "python3-venv"}
_PATH = re.compile(r"(?:/[A-Za-z0-9@+_-][A-Za-z0-9@+._-]*)+")
_FOLDER = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolchainRecipe:
    """One version of a language: a registry's package that is unpacked, or what the Debian packages bring."""

    language: str
    package: RegistryPackage | None = None
    """None for what the Debian packages bring."""
    folder: str = "."
    """Which folder of the unpacked package becomes `place`."""
    place: str = ""
    """Where it is in the image, with its programs in `bin`; empty for what is found on PATH anyway."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """What its programs need."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRecipe:
    """What an image is made of."""

    name: str
    packages: tuple[tuple[str, ...], ...]
    """Debian packages, above those of the variant: of each the names that will do, the best first."""
    variant: str = "minbase"
    """Which packages are there anyway, as mmdebstrap names them."""
    python_packages: tuple[RegistryPackage, ...] = ()
    """Programs, each with what it needs in a virtual environment of its own."""
    npm_packages: tuple[RegistryPackage, ...] = ()
    """Programs that are installed globally."""
    toolchains: tuple[ToolchainRecipe, ...] = ()
    """Of each language the first is the one that is found without being chosen."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Small files by their paths, written last."""

    @property
    def adds_to_debian(self) -> bool:
        """Whether there is anything above the Debian packages."""
        return bool(self.python_packages or self.npm_packages or self.toolchains or self.files)


def packaged_recipes() -> Path:
    """Return the folder of the recipes that come with Cloister."""
    return Path(str(files("cloister") / "images"))


def known_recipes(*folders: Path) -> Sequence[str]:
    """Return the names of the recipes in `folders`, sorted."""
    return sorted({path.stem for folder in folders for path in folder.glob("*.toml") if is_recipe_name(path.stem)})


def is_recipe_name(text: str) -> bool:
    """Whether `text` can name a recipe: it is then also a safe file name."""
    return _NAME.fullmatch(text) is not None


def load_recipe(name: str, *folders: Path) -> ImageRecipe:
    """Read `<name>.toml` of the first folder that has it.

    NotFoundError names the known recipes; UsageError says what is wrong in the file.
    """
    paths = [folder / f"{name}.toml" for folder in folders] if is_recipe_name(name) else []
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        known = ", ".join(known_recipes(*folders))
        raise NotFoundError(f"there is no image {name!r}", hint=f"known images: {known}")
    try:
        return _parse(name, tomllib.loads(path.read_text()))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, ValueError) as error:
        raise UsageError(f"{path}: {error}") from error


def _parse(name: str, content: Mapping[str, object]) -> ImageRecipe:
    _refuse_unknown(content, _KEYS, "a recipe")
    variant = content.get("variant", "minbase")
    if variant not in _VARIANTS:
        raise ValueError(f"variant is one of {', '.join(_VARIANTS)}, not {variant!r}")
    packages = tuple(parse_alternatives(text) for text in _list(content, "packages", "package names"))
    python_packages = tuple(parse_python_package(text) for text in _list(content, "python_packages", "packages"))
    missing = _FOR_PYTHON_PACKAGES - {name for names in packages for name in names}
    if python_packages and missing:
        raise ValueError(f"python_packages need {' and '.join(sorted(missing))} among the packages")
    toolchains = tuple(_parse_toolchain(entry) for entry in _list(content, "toolchains", "tables"))
    _refuse_repeated(toolchains)
    return ImageRecipe(
        name=name,
        packages=packages,
        variant=str(variant),
        python_packages=python_packages,
        npm_packages=tuple(parse_npm_package(text) for text in _list(content, "npm_packages", "packages")),
        toolchains=toolchains,
        files=_parse_texts(content, "files", _PATH, "an absolute path without links and dots"),
    )


def _list(content: Mapping[str, object], key: str, of: str) -> Sequence[object]:
    value = content.get(key, [])
    if not isinstance(value, list):
        raise ValueError(f"{key} is a list of {of}")  # noqa: TRY004  one error type for all of the file
    return value


def _parse_toolchain(entry: object) -> ToolchainRecipe:
    if not isinstance(entry, dict):
        raise ValueError(f"a toolchain is a table, not {entry!r}")  # noqa: TRY004
    _refuse_unknown(entry, _TOOLCHAIN_KEYS, "a toolchain")
    language, folder = entry.get("language"), entry.get("folder", ".")
    if language not in LANGUAGES:
        raise ValueError(f"the language of a toolchain is one of {', '.join(LANGUAGES)}, not {language!r}")
    package = _parse_package_of(entry)
    if package is None and "folder" in entry:
        raise ValueError(f"a {language} toolchain without a package of a registry has a place, and no folder")
    if folder != "." and not (isinstance(folder, str) and _FOLDER.fullmatch(folder)):
        raise ValueError(f"{folder!r} is not a folder inside a package")
    place = entry.get("place", f"/opt/{language}-{package.version}" if package else "")
    if place and not (isinstance(place, str) and _PATH.fullmatch(place)):
        raise ValueError(f"{place!r} is not an absolute path without links and dots")
    variables = _parse_texts(entry, "variables", _VARIABLE, "the name of a variable")
    return ToolchainRecipe(language=language, package=package, folder=folder, place=place, variables=variables)


def _parse_package_of(entry: Mapping[str, object]) -> RegistryPackage | None:
    match entry:
        case {"python_package": _, "npm_package": _}:
            raise ValueError("a toolchain has a python_package or an npm_package, not both")
        case {"python_package": text}:
            return parse_python_package(text)
        case {"npm_package": text}:
            return parse_npm_package(text)
    return None


def _parse_texts(content: Mapping[str, object], key: str, pattern: re.Pattern[str], what: str) -> Mapping[str, str]:
    texts = content.get(key, {})
    if not isinstance(texts, dict):
        raise ValueError(f"{key} is a table of texts")  # noqa: TRY004
    for name, text in texts.items():
        if not pattern.fullmatch(name) or ".." in PurePosixPath(name).parts:
            raise ValueError(f"{name!r} in {key} is not {what}")
        if not isinstance(text, str):
            raise ValueError(f"{name} in {key} is a text, not {text!r}")  # noqa: TRY004
    return texts


def _refuse_unknown(table: Mapping[str, object], known: Collection[str], what: str) -> None:
    for key in sorted(table.keys() - known):
        near = difflib.get_close_matches(key, known, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"{what} has {', '.join(known)}"
        raise ValueError(f"unknown key {key!r}; {hint}")


def _refuse_repeated(toolchains: Sequence[ToolchainRecipe]) -> None:
    """Two cannot be at one place, and of each language only the first can be found on PATH."""
    places: set[str] = set()
    languages: set[str] = set()
    for toolchain in toolchains:
        if toolchain.place in places:
            raise ValueError(f"two toolchains are at {toolchain.place}")
        if not toolchain.place and toolchain.language in languages:
            raise ValueError(f"a {toolchain.language} toolchain after the first has no place")
        places |= {toolchain.place} - {""}
        languages.add(toolchain.language)
