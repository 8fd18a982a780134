"""Recipes: which packages an image is made of, one TOML file each."""

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from cloister.errors import NotFoundError, UsageError

# Debian policy, 5.6.1; the architecture suffix is not ours to choose.
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_VARIANTS = ("minbase", "apt", "essential")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRecipe:
    """What an image is made of."""

    name: str
    packages: tuple[str, ...]
    """Debian packages, above those of the variant."""
    variant: str = "minbase"
    """Which packages are there anyway, as mmdebstrap names them."""


def packaged_recipes() -> Path:
    """Return the folder of the recipes that come with Cloister."""
    return Path(str(files("cloister") / "images"))


def known_recipes(folder: Path) -> Sequence[str]:
    """Return the names of the recipes in `folder`, sorted."""
    return sorted(path.stem for path in folder.glob("*.toml"))


def is_recipe_name(text: str) -> bool:
    """Whether `text` can name a recipe: it is then also a safe file name."""
    return _NAME.fullmatch(text) is not None


def load_recipe(folder: Path, name: str) -> ImageRecipe:
    """Read `<folder>/<name>.toml`. NotFoundError names the known recipes; UsageError says what is wrong in the file."""
    path = folder / f"{name}.toml"
    if not is_recipe_name(name) or not path.is_file():
        known = ", ".join(known_recipes(folder))
        raise NotFoundError(f"there is no image {name!r}", hint=f"known images: {known}")
    try:
        return _parse(name, tomllib.loads(path.read_text()))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, ValueError) as error:
        raise UsageError(f"{path}: {error}") from error


def _parse(name: str, content: dict[str, object]) -> ImageRecipe:
    unknown = sorted(content.keys() - {"packages", "variant"})
    if unknown:
        raise ValueError(f"unknown key {unknown[0]!r}; a recipe has packages and variant")
    packages = content.get("packages", [])
    if not isinstance(packages, list):
        raise ValueError("packages is a list of package names")  # noqa: TRY004  one error type for all of the file
    for package in packages:
        if not isinstance(package, str) or not _PACKAGE.fullmatch(package):
            raise ValueError(f"{package!r} is not the name of a package")
    variant = content.get("variant", "minbase")
    if variant not in _VARIANTS:
        raise ValueError(f"variant is one of {', '.join(_VARIANTS)}, not {variant!r}")
    return ImageRecipe(name=name, packages=tuple(packages), variant=str(variant))
