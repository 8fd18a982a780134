"""How a recipe names packages: Debian's by name, those of registries with the version that is to be had."""

import platform
import re
from dataclasses import dataclass
from enum import StrEnum

# Debian policy, 5.6.1; the architecture suffix is not ours to choose.
_DEBIAN = re.compile(r"[a-z0-9][a-z0-9+.-]+")
# PEP 508 names and extras, with the two of its operators that tie a version down. Addresses are not for recipes.
_PYTHON = re.compile(
    r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)(?:\[[A-Za-z0-9,._-]+\])?"
    r"\s*(?:==|~=)\s*(?P<version>[0-9][A-Za-z0-9.+!]*)"
)
# The registry's rules for names (validate-npm-package-name), without those that only old packages may have.
_NPM = re.compile(r"(?P<name>(?:@[a-z0-9][a-z0-9._~-]*/)?[a-z0-9][a-z0-9._~-]*)@[~^]?(?P<version>[0-9][0-9A-Za-z.+-]*)")
_NPM_ARCHITECTURES = {"x86_64": "x64", "aarch64": "arm64"}


class Registry(StrEnum):
    """Whose package it is."""

    PYTHON = "python"
    NPM = "npm"


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryPackage:
    """A package of the Python or the npm registry, and which version of it."""

    registry: Registry
    name: str
    version: str
    """As the recipe says it, without the operator."""
    requirement: str
    """As the registry's client takes it."""


def parse_alternatives(text: object) -> tuple[str, ...]:
    """Parse a Debian package, or several that will do with `|` between them. ValueError for anything else."""
    names = tuple(name.strip() for name in text.split("|")) if isinstance(text, str) else ()
    if not names or not all(_DEBIAN.fullmatch(name) for name in names):
        raise ValueError(f"{text!r} is not the name of a package")
    return names


def parse_python_package(text: object) -> RegistryPackage:
    """Parse `name==1.2.3` or `name~=1.2`. ValueError for anything else."""
    found = _PYTHON.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise ValueError(f"{text!r} is not a Python package with its version, like 'uv==0.13.9' or 'uv~=0.13.9'")
    return RegistryPackage(
        registry=Registry.PYTHON, name=found["name"], version=found["version"], requirement=re.sub(r"\s", "", found[0])
    )


def parse_npm_package(text: object) -> RegistryPackage:
    """Parse `name@1.2.3`, `name@~1.2.3` or `name@^1.2.3`; `{arch}` is x64 or arm64. ValueError for anything else."""
    architecture = _NPM_ARCHITECTURES.get(platform.machine(), platform.machine())
    filled = text.replace("{arch}", architecture) if isinstance(text, str) else ""
    found = _NPM.fullmatch(filled)
    if found is None:
        raise ValueError(f"{text!r} is not an npm package with its version, like 'pnpm@10.34.8' or 'pnpm@^10.34.8'")
    return RegistryPackage(registry=Registry.NPM, name=found["name"], version=found["version"], requirement=filled)
