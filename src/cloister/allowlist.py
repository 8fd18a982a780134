"""Allowlists as users write them: domains that are not too broad, and presets by name."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from importlib import resources
from types import MappingProxyType

from publicsuffixlist import PublicSuffixList

from cloister.errors import UsageError
from cloister.model.network import REGISTRIES, parse_domain

PRESET = "preset:"


def parse_allowlist(entries: Iterable[str], presets: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Return the domains that `entries` stand for, canonical and once each, in the order of the entries.

    An entry is a domain or `preset:NAME`; `presets` holds canonical domains by name, already vetted.
    Public suffixes are refused, those of the list's private section too: whoever allows `github.io`
    allows a page of every user of GitHub (https://publicsuffix.org/list/, from the library's own copy).

    Raises UsageError naming the entry.
    """
    suffixes = cache(PublicSuffixList)  # 30 ms, so only for an entry that needs it, and once for all
    return tuple(dict.fromkeys(domain for entry in entries for domain in _parse_entry(entry, presets, suffixes)))


def wrong_entries(entries: Iterable[str], presets: Mapping[str, tuple[str, ...]]) -> Iterator[UsageError]:
    """Yield what `parse_allowlist` has against each of `entries`."""
    suffixes = cache(PublicSuffixList)
    for entry in entries:
        try:
            _parse_entry(entry, presets, suffixes)
        except UsageError as error:
            yield error


def check_not_too_broad(host: str) -> None:
    """Raise UsageError when a brokered secret's host is a public suffix: then anyone could receive the secret."""
    if PublicSuffixList().is_public(host.lower().removesuffix(".")):
        raise UsageError(
            f"the host {host!r} is too broad: anyone can have a name below it",
            hint=f"name the host that you mean, such as api.example.{host}",
        )


@cache
def builtin_presets() -> Mapping[str, tuple[str, ...]]:
    """Return the presets by name: `common-dependencies`, a list that ships with Cloister, and `package-registries`.

    The latter stands for itself, and is part of the former: the node that carries a policy out knows its registries.
    """
    text = resources.files("cloister").joinpath("data/common-dependencies.txt").read_text()
    listed = tuple(parse_domain(line) for line in text.split())
    return MappingProxyType({"common-dependencies": (*listed, REGISTRIES), "package-registries": (REGISTRIES,)})


def _parse_entry(
    entry: str, presets: Mapping[str, tuple[str, ...]], suffixes: Callable[[], PublicSuffixList]
) -> tuple[str, ...]:
    if entry.startswith(PRESET):
        return _expand(entry.removeprefix(PRESET), presets)
    return (_parse_listed(entry, suffixes),)


def _expand(name: str, presets: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    if name not in presets:
        known = ", ".join(PRESET + known for known in sorted(presets))
        raise UsageError(f"network.allow: there is no {PRESET}{name}", hint=f"The presets are: {known}.")
    return presets[name]


def _parse_listed(entry: str, suffixes: Callable[[], PublicSuffixList]) -> str:
    try:
        domain = parse_domain(entry)
    except ValueError as error:
        raise UsageError(f"network.allow: {error}") from error
    if suffixes().is_public(domain):
        raise UsageError(
            f"network.allow: {entry!r} is too broad: anyone can have a name below it",
            hint=f"Name the domain below it that you mean, such as example.{domain}.",
        )
    return domain
